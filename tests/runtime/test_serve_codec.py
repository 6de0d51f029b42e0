"""Messages between robot and server: the protocol's coding, and everything that it refuses."""

import pickle
import struct
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from openpi_client import msgpack_numpy

from foreact_runtime.errors import ServingError
from foreact_runtime.serve.codec import decode, encode

DTYPES = ["<f4", ">f8", "<f2", "|u1", "<i8", "|b1", "<U5", "|S3"]


@given(arrays.arrays(st.sampled_from(DTYPES), arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
def test_arrays_pass_both_ways_between_our_coding_and_openpis(array: np.ndarray) -> None:
    for there in (
        decode(encode({"a": array})),
        decode(msgpack_numpy.packb({"a": array})),
        msgpack_numpy.unpackb(encode({"a": array})),
    ):
        assert there["a"].dtype == array.dtype
        assert there["a"].shape == array.shape
        assert there["a"].tobytes() == array.tobytes()


@pytest.mark.parametrize("value", [np.float32(1.5), np.int64(-3), np.bool_(True), 1.5, -3, "there"])
def test_scalars_pass_both_ways_too(value: Any) -> None:
    for there in (decode(encode({"a": value})), decode(msgpack_numpy.packb({"a": value}))):
        assert there["a"] == value
        assert type(there["a"]) is type(value)


def test_what_was_read_may_be_written_to() -> None:
    decode(encode({"a": np.zeros(3)}))["a"][0] = 1.0


@pytest.mark.parametrize("value", [np.array([{}]), np.zeros(2, "V8"), np.zeros(2, complex), object(), 1 << 70])
def test_what_the_protocol_has_no_words_for_is_not_sent(value: Any) -> None:
    with pytest.raises(ServingError, match="cannot be sent"):
        encode({"a": value})


def array(**fields: Any) -> bytes:
    good = {"__ndarray__": True, "data": bytes(8), "dtype": "<f4", "shape": [2]}
    return msgpack.packb({"a": {key.encode(): value for key, value in {**good, **fields}.items()}})


def scalar(**fields: Any) -> bytes:
    good = {"__npgeneric__": True, "data": 1, "dtype": "<i4"}
    return msgpack.packb({"a": {key.encode(): value for key, value in {**good, **fields}.items()}})


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("executed",)


REFUSED = {
    "objects": (array(dtype="|O"), "has the dtype '|O'"),
    "records": (array(dtype="|V4"), "has the dtype '|V4'"),
    "fields": (array(dtype="i4,i4"), "has the dtype 'i4,i4'"),
    "complex": (array(dtype="<c8", shape=[1]), "has the dtype '<c8'"),
    "dates": (array(dtype="<M8[s]", shape=[1]), "has the dtype '<M8"),
    "no dtype": (array(dtype=None), "has the dtype None"),
    "elements without size": (array(dtype="<U0"), "has the dtype '<U0'"),
    "more than there is": (array(shape=[1 << 20, 1 << 20]), "expected 4398046511104 bytes"),
    "overflow": (array(shape=[1 << 20] * 4), "bytes"),
    "negative": (array(shape=[-1, -2]), "has the shape [-1, -2]"),
    "huge and empty": (array(shape=[0, 1 << 62], data=b""), "has the shape"),
    "many dimensions": (array(shape=[1] * 64 + [2]), "has the shape"),
    "shape of floats": (array(shape=[2.0]), "has the shape [2.0]"),
    "shape of truths": (array(shape=[True], data=bytes(4)), "has the shape [True]"),
    "data as text": (array(data="12345678"), "has a str, expected 8 bytes"),
    "too few bytes": (array(data=bytes(7)), "has 7 bytes, expected 8 bytes"),
    "scalar of objects": (scalar(dtype="|O"), "has the dtype '|O'"),
    "scalar of lists": (scalar(data=[1]), "holds a list"),
    "scalar too large": (scalar(data=1 << 40), "is 1099511627776"),
    "scalar of text": (scalar(data="x"), "not msgpack as the protocol has it"),
    "pickle": (pickle.dumps(Exploit()), "not msgpack"),
    "pickle inside": (msgpack.packb({"a": msgpack.ExtType(42, pickle.dumps(Exploit()))}), "not msgpack"),
    "nothing": (b"", "not msgpack"),
    "cut": (array()[:-1], "not msgpack"),
    "two messages": (array() + array(), "not msgpack"),
    "a list": (msgpack.packb([1, 2]), "not a msgpack map with names"),
    "keys of bytes": (msgpack.packb({b"a": 1}), "not a msgpack map with names"),
    "keys of numbers": (msgpack.packb({1: 1}), "not msgpack"),
    "four billion elements": (b"\x81\xa1a\xdd" + struct.pack(">I", 0xFFFFFFFF), "not msgpack"),
    "a million elements": (msgpack.packb({"a": [None] * (1 << 20)}), "not msgpack"),
    "a million maps": (msgpack.packb({"a": [[{} for _ in range(1000)] for _ in range(1000)]}), "more than 256"),
    "deep": (b"\x81\xa1a" + b"\x91" * 100_000 + b"\xc0", "not msgpack"),
    "not text": (b"\x81\xa1\xff\x01", "not msgpack"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_the_protocol_is_refused_with_one_short_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, message = REFUSED[name]
    with pytest.raises(ServingError) as refused:
        decode(data)
    assert message in str(refused.value)
    assert len(str(refused.value)) < 300
    assert capsys.readouterr().out == "", "nothing in a message is executed"


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ServingError):
        assert isinstance(decode(data), dict)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_a_damaged_observation_is_read_or_refused(noise: bytes, place: int) -> None:
    good = encode({"observation.state": np.arange(6, dtype=np.float32), "n": np.int64(3), "nested": {"a": [1, "b"]}})
    with suppress(ServingError):
        assert isinstance(decode(good[:place] + noise + good[place + len(noise) :]), dict)
