"""
Speak many texts on the workers of a Celery application.

For several workers, remove ``task_always_eager``, start ``celery -A celery_batch worker``, and
share the limit between the clients: ``Inworld(limiter=RedisLimiter("redis://localhost:6379/1"))``.
"""

from celery import Celery

from inworld_sync import CeleryBatch, Inworld

app = Celery("speech", broker="redis://localhost:6379/0")
app.conf.task_always_eager = True  # runs the tasks in this process
batch = CeleryBatch(app, Inworld)

JOBS = [{"id": f"line-{number}", "text": f"This is line {number}."} for number in range(1, 5)]

if __name__ == "__main__":
    run = batch.submit(JOBS, "lines", template="{id}.wav", group_size=2)
    progress = run.wait(timeout=60)
    done = progress.skipped + progress.done
    print(f"{done} of {progress.total} done, {progress.failed} failed")
    for failure in run.failures():
        print(failure.id, failure.message)
    batch.close()
