"""Sends numbers, and gets what the sink lets through."""

from palm.clients import Client

if __name__ == "__main__":
    with Client("first") as client:
        job = client.job(["first.echo", ["even.halve", "odd.triple"], "sink.keep"], range(12))
        results = list(job)
        done = job.progress.done
    print(*results)
    steps = [3 * i + 1 if i % 2 else i // 2 for i in range(12)]
    if sorted(results) != sorted(step for step in steps if step >= 4) or done != 12:
        raise SystemExit(f"{done} messages, and not the results that were expected")
    print(f"{done} messages, {len(results)} results")
