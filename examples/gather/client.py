"""Sends 20 numbers, and gets five sums."""

from palm.clients import Client

if __name__ == "__main__":
    with Client("master") as client:
        job = client.job("master.square", range(20))
        sums = list(job)
        done = job.progress.done
    print(*sums)
    if len(sums) != 5 or sum(sums) != sum(i * i for i in range(20)) or done != 20:
        raise SystemExit(f"{done} messages, and not the sums that were expected")
    print(f"{done} messages, {len(sums)} results")
