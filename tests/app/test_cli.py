"""What the command line prints, where, and the exit code it leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from posteriori.app import cli


@pytest.fixture
def po(
    fruit: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run ``posteriori WORDS`` in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["posteriori", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        output = capsys.readouterr()
        return int(stop.value.code or 0), output.out, output.err

    return run


Po = Callable[..., tuple[int, str, str]]


def test_list_and_show(po: Po) -> None:
    code, out, _ = po("list")
    assert code == 0
    assert "fruit/apple-mass" in out
    assert "Weigh an apple on a noisy balance." in out
    code, out, _ = po("show", "fruit/apple-mass")
    assert code == 0
    assert "Standard deviation of one reading [g]." in out
    assert "noise=2.0" in out


def test_run_prints_the_audit_the_scores_and_where_the_report_is(po: Po, tmp_path: Path) -> None:
    code, out, err = po("run", "fruit/apple-mass", "readings=20")
    assert code == 0, err
    assert "… and 50 more rows" in out
    assert "[140, 160]  pass" in out
    (report,) = tmp_path.glob("runs/fruit/apple-mass/*/report.html")
    assert out.rstrip().endswith(str(report.relative_to(tmp_path)))


def test_json_prints_the_scores_and_nothing_else(po: Po, tmp_path: Path) -> None:
    code, out, err = po("run", "fruit/apple-mass", "--json", "--quick", "--out", tmp_path / "out")
    assert code == 0, err
    assert json.loads(out) == json.loads((tmp_path / "out" / "scores.json").read_text())
    assert json.loads(out)["n"] == 30


def test_a_failed_gate_is_exit_code_1_and_still_leaves_the_report(po: Po, tmp_path: Path) -> None:
    code, _, err = po("run", "fruit/apple-mass", "fault=gate", "--out", tmp_path / "out")
    assert code == 1
    assert "the audit failed at mean_g" in err
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "fruit/aple-mass"), "did you mean fruit/apple-mass? `posteriori list`"),
        (("run", "fruit/apple-mass", "radings=1"), "did you mean readings"),
        (("run", "fruit/apple-mass", "readings=many"), "is not a whole number"),
        (("run", "fruit/apple-mass", "fault=data"), "the apple is missing; put one on the balance."),
        (("run", "fruit/apple-mass", "seed=1", "--seed", "2"), "give one whole number"),
        (("run", "fruit/apple-mass", "seed=-1"), "give one whole number"),
        (("run", "fruit/apple-mass", "--workers", "0"), "--workers"),
        (("run", "fruit/apple-mass", "--device", "abacus"), "device 'abacus' cannot be used"),
        (("run", "fruit/apple-mass", "--device", "meta"), "device 'meta' cannot be used"),
        (("run", "fruit/apple-mass", "--out", "/proc/nowhere"), "choose another --out"),
        (("verify", "nowhere"), "is no run folder"),
        (("cite", "nowhere"), "is no run folder"),
        (("show", "fruit/pear"), "there is no study"),
        (("weigh",), "weigh"),
    ],
)
def test_bad_input_is_exit_code_2_one_message_and_no_file(
    po: Po, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    code, out, err = po(*words)
    assert code == 2
    assert message in err
    assert out == ""
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.json"))


def test_a_defect_is_exit_code_70_with_its_traceback(po: Po) -> None:
    code, _, err = po("run", "fruit/apple-mass", "fault=defect")
    assert code == 70
    assert "ZeroDivisionError" in err
    assert "a defect of posteriori" in err


def test_seed_is_the_same_as_an_option_and_as_a_flag(po: Po) -> None:
    outputs = [po("run", "fruit/apple-mass", "--json", *words)[1] for words in (["seed=5"], ["--seed", "5"], [])]
    means = [json.loads(out)["mean_g"] for out in outputs]
    assert means[0] == means[1] != means[2]


def test_verify_and_cite(po: Po, tmp_path: Path) -> None:
    po("run", "fruit/apple-mass", "--out", tmp_path / "out")
    code, out, _ = po("verify", tmp_path / "out")
    assert code == 0
    assert "repeats" in out
    assert po("cite", tmp_path / "out") == (0, "Newton (1687), Principia.\n", "")
    (tmp_path / "out" / "note.txt").write_text("changed")
    code, out, _ = po("verify", tmp_path / "out")
    assert code == 1
    assert out.startswith("stored file note.txt")


def test_version(po: Po) -> None:
    from importlib import metadata

    assert po("--version") == (0, metadata.version("posteriori") + "\n", "")


def test_interrupt_says_how_to_resume(
    command: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAUSE_AT", "1")
    words = command("run", "fruit/apple-mass", "--json", "--out", "out")
    # a shell's background jobs ignore Ctrl-C and hand that on to what they start
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeds
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "paused\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted; out was not written; the same command resumes from the parts that were finished" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
    monkeypatch.delenv("PAUSE_AT")
    assert subprocess.run(words, cwd=tmp_path, check=False, capture_output=True).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
