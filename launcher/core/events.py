"""The service's own words for the moments of a job: its API sample first, then its published list of events."""

from __future__ import annotations


def job_running() -> str:
    """The job as a whole is under way."""
    return "Training job is running."


def job_ended(phase: str) -> str:
    """The job as a whole is over; `phase` is Completed, Failed, Terminated or Abnormal."""
    return f"Training job {phase.lower()}."


def code_downloading(task: str) -> str:
    """The code directory is on its way."""
    return f"[{task}] The training code is being downloaded."


def code_downloaded(task: str, seconds: float) -> str:
    """The code directory is here."""
    return f"[{task}] [Duration: {seconds:.3f}s] Training code downloaded."


def code_failed(task: str, seconds: float, why: str) -> str:
    """The code directory could not be brought."""
    return f"[{task}] [Duration: {seconds:.3f}s] Failed to download the training code. Failure cause: {why}"


def input_downloading(task: str) -> str:
    """The inputs are on their way."""
    return f"[{task}] The training input is being downloaded."


def input_downloaded(task: str, seconds: float, name: str) -> str:
    """One input channel is here."""
    return f"[{task}] [Duration: {seconds:.3f}s] Training input (parameter: {name}) downloaded."


def input_failed(task: str, seconds: float, name: str, why: str) -> str:
    """One input channel could not be brought."""
    return (
        f"[{task}] [Duration: {seconds:.3f}s] Failed to download the training input (parameter: {name}). "
        f"Failure cause: {why}"
    )


def packages_installing(task: str, file: str) -> str:
    """The pip file is being installed."""
    return f"[{task}] Python dependency packages are being installed. Import the following files: {file}"


def packages_installed(task: str, seconds: float, file: str) -> str:
    """The pip file is installed."""
    return (
        f"[{task}] [Duration: {seconds:.3f}s] Python dependency packages installed. Import the following files: {file}"
    )


def training_started(task: str) -> str:
    """The boot file runs."""
    return f"[{task}] training started."


def training_finished(task: str, exit_code: int) -> str:
    """The boot file ended."""
    return f"[{task}] Training finished. Exit code {exit_code}."


def output_uploading(task: str, name: str) -> str:
    """One output channel is being put in its place."""
    return f"[{task}] Training output(parameter name: {name}) Uploading."


def output_uploaded(task: str, seconds: float, name: str) -> str:
    """One output channel is in its place."""
    return f"[{task}][time used: {seconds:.3f}s] Upload training output(parameter name: {name}) finished."


def output_failed(task: str, seconds: float, name: str, why: str) -> str:
    """One output channel could not be put in its place."""
    return (
        f"[{task}][time used: {seconds:.3f}s] Upload training output(parameter name: {name}) failed. "
        f"Failure cause: {why}"
    )
