"""Sends lines, and gets their words."""

from palm.clients import Client

LINES = ["simple things", "", "must be simple", "things"]

if __name__ == "__main__":
    with Client("master") as client:
        job = client.job("master.words", LINES, ordered=True)
        words = list(job)
        done = job.progress.done
    print(*words, sep="\n")
    if words != " ".join(LINES).split() or done != len(LINES):
        raise SystemExit(f"{done} messages, and not the words that were expected")
    print(f"{done} messages, {len(words)} results")
