"""`foreact studio` as a user starts it."""

import os
import re
import subprocess
import sys
import threading

_PATIENCE_S = 120


class RunningStudio:
    """`foreact studio` in a process of its own."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        command = [sys.executable, "-m", "foreact", "studio", *arguments, "--port", str(port)]
        # NiceGUI serves otherwise where it thinks that it is itself tested.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        environment["OMP_NUM_THREADS"] = "1"
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self.said: list[str] = []
        # Whatever it says later must not fill the pipe.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self.url = self._wait()
        self._listener.start()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        """End it as a terminal or a service manager does; pages may be open."""
        self.process.terminate()
        try:
            assert self.process.wait(40) == 0, "".join(self.said)
        finally:
            self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._listener.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _wait(self) -> str:
        timer = threading.Timer(_PATIENCE_S, self.process.kill)
        timer.start()
        try:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                self.said.append(line)
                if found := re.search(r"the studio is at (\S+);", line):
                    return found[1]
        finally:
            timer.cancel()
        self.process.wait()
        self.process.stdout.close()
        raise AssertionError(f"no studio: {''.join(self.said)}")

    def _listen(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(self.process.stdout)
