"""The progress bar: when it appears, and that it leaves the items alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rich.console import Console

from popavg.posterior_tools import progress
from popavg.posterior_tools.progress import track


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A terminal, a clock that runs half a second at every look, and what was shown."""
    log: list[str] = []
    clock = iter(range(10_000))

    class Bar:
        def __init__(self, **kwargs: object) -> None: ...
        def add_task(self, text: str, total: int) -> int:
            log.append(f"{text} of {total}")
            return 0

        def start(self) -> None:
            log.append("start")

        def update(self, task: int, completed: int) -> None:
            log.append(str(completed))

        def stop(self) -> None:
            log.append("stop")

    monkeypatch.setattr(progress, "Progress", Bar)
    monkeypatch.setattr(progress.time, "monotonic", lambda: 0.5 * next(clock))
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(stderr=stderr, force_terminal=True)
    )
    return log


def test_a_long_computation_shows_how_far_it_is(shown: list[str]) -> None:
    assert list(track("abcd", 4, "draws")) == list("abcd")
    assert shown == ["draws of 4", "start", "1", "2", "3", "stop"]


def test_a_short_one_shows_nothing(shown: list[str]) -> None:
    assert list(track("ab", 2, "draws")) == ["a", "b"]
    assert shown == []


def test_nothing_is_shown_if_it_is_not_wanted(shown: list[str]) -> None:
    assert list(track("abcd", 4, "draws", progress=False)) == list("abcd")
    assert shown == []


def test_nothing_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track("abcd", 4, "draws")) == list("abcd")
    assert capsys.readouterr().err == ""


def test_the_bar_is_taken_down_after_an_interruption(shown: list[str]) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(track(items(), 4, "draws"))
    assert shown[-1] == "stop"
