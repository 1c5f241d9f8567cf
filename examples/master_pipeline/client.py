"""Sends numbers to the master; results come from the stage behind it."""

from palm.clients import Client

if __name__ == "__main__":
    with Client("master") as client:
        results = list(client.job(["master.square", "second.tell"], range(10), ordered=True))
    print(*results, sep="\n")
    if results != [f"the square is {i * i}" for i in range(10)]:
        raise SystemExit("these are not the results of both stages")
