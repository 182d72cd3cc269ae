"""Speak many texts to files. After an interruption, the next run makes only the missing files."""

from inworld_sync import BatchProgress, Inworld

JOBS = [
    {"id": "welcome", "text": "Welcome to the museum."},
    {"id": "hall", "text": "You are in the main hall.", "voice": "Dennis"},
    {"id": "goodbye", "text": "Thank you for your visit."},
]


def show(progress: BatchProgress) -> None:
    done = progress.skipped + progress.done
    print(f"{done} of {progress.total}, {progress.items_per_second:.1f} per second")


with Inworld() as iw:
    summary = iw.batch(JOBS, "museum", template="{voice}/{id}.wav", on_progress=show)

print(f"{summary.done} spoken, {summary.skipped} were there already")
for failure in summary.failures:
    print(failure.id, failure.message)
