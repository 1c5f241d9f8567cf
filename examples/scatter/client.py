"""Sends four messages, and gets three results for each."""

from palm.clients import Client

if __name__ == "__main__":
    with Client("master") as client:
        job = client.job("master.double", [b"0", b"1", b"2", b"3"])
        results = list(job)
        done = job.progress.done
    print(*results)
    expected = [b"%d%c%d%c" % (i, c, i, c) for i in range(4) for c in b"abc"]
    if sorted(results) != expected:
        raise SystemExit(f"not the results that were expected: {expected}")
    print(f"{done} messages, {len(results)} results")
