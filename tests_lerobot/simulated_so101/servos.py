"""Six STS3215 servos at the other end of a pseudo-terminal: they read, write and answer Feetech's packets.

A packet is FF FF, id, length, instruction or error, parameters, and the inverted sum of all after the header; numbers
of two bytes come low byte first. A servo whose torque is on goes where it is told at once.
"""

from __future__ import annotations

import json
import os
import select
import threading
import tty
from contextlib import suppress
from pathlib import Path
from types import TracebackType

MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
RANGES = ((800, 3200), (900, 3100), (1000, 3000), (1000, 3200), (0, 4095), (2000, 3500))
"""Least and largest position [4096ths of a turn] of each motor, as a calibration finds them."""
PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 1, 2, 3, 0x82, 0x83
MODEL_NUMBER, MIN_POSITION, MAX_POSITION, TORQUE_ENABLE, GOAL_POSITION, PRESENT_POSITION = 3, 9, 11, 40, 42, 56
STS3215 = 777


class Servos:
    """Answers from a thread of its own while it is entered."""

    def __init__(self, positions: tuple[int, ...]) -> None:
        """Begin at these positions [4096ths of a turn], without torque."""
        self.memory = {number: bytearray(128) for number in range(1, len(MOTORS) + 1)}
        for (number, memory), (low, high), position in zip(self.memory.items(), RANGES, positions, strict=True):
            memory[5] = number
            for address, value in (
                (MODEL_NUMBER, STS3215),
                (MIN_POSITION, low),
                (MAX_POSITION, high),
                (PRESENT_POSITION, position),
            ):
                memory[address : address + 2] = value.to_bytes(2, "little")
        self.told: list[tuple[int, ...]] = []
        """Goals of all six, one a command [4096ths of a turn]."""
        self.told_with_torque: list[bool] = []
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.port = os.ttyname(self._theirs)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Servos:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, of: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def torque(self) -> list[int]:
        return [memory[TORQUE_ENABLE] for memory in self.memory.values()]

    def _serve(self) -> None:
        # Servos answer within a millisecond, however busy the computer is; where nobody may ask for that, as soon as
        # they can.
        with suppress(PermissionError, AttributeError):
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_FIFO, os.sched_param(1))
        received = b""
        while not self._end.is_set():
            if not select.select([self._ours], [], [], 0.05)[0]:
                continue
            received += os.read(self._ours, 1024)
            while len(received) >= 4 and len(received) >= (size := 4 + received[3]):
                packet, received = received[:size], received[size:]
                assert packet[:2] == b"\xff\xff"
                assert packet[-1] == checksum(packet[2:-1])
                self._obey(packet[2], packet[4], packet[5:-1])

    def _obey(self, number: int, instruction: int, parameters: bytes) -> None:
        if instruction == PING:
            self._answer(number)
        elif instruction == READ:
            self._answer(number, *parameters)
        elif instruction == WRITE:
            self._write(number, parameters[0], parameters[1:])
            self._answer(number)
        elif instruction == SYNC_READ:
            for each in parameters[2:]:
                self._answer(each, *parameters[:2])
        elif instruction == SYNC_WRITE:
            address, length = parameters[:2]
            goals = {}
            for start in range(2, len(parameters), length + 1):
                each, value = parameters[start], parameters[start + 1 : start + 1 + length]
                self._write(each, address, value)
                goals[each] = int.from_bytes(value, "little")
            assert address == GOAL_POSITION
            self.told_with_torque.append(all(self.torque))
            self.told.append(tuple(goals[each] for each in self.memory))
        else:
            raise AssertionError(f"instruction {instruction}")

    def _answer(self, number: int, address: int = 0, length: int = 0) -> None:
        values = bytes(self.memory[number][address : address + length])
        body = bytes([number, length + 2, 0]) + values
        os.write(self._ours, b"\xff\xff" + body + bytes([checksum(body)]))

    def _write(self, number: int, address: int, value: bytes) -> None:
        memory = self.memory[number]
        memory[address : address + len(value)] = value
        if address == GOAL_POSITION and memory[TORQUE_ENABLE]:
            memory[PRESENT_POSITION : PRESENT_POSITION + 2] = value


def checksum(body: bytes) -> int:
    return ~sum(body) & 0xFF


def write_calibration(path: Path) -> None:
    """What `lerobot-calibrate` leaves for these servos."""
    path.parent.mkdir(parents=True)
    motors = {
        name: {"id": number, "drive_mode": 0, "homing_offset": 0, "range_min": low, "range_max": high}
        for number, (name, (low, high)) in enumerate(zip(MOTORS, RANGES, strict=True), start=1)
    }
    path.write_text(json.dumps(motors))
