"""Calls the server once, and then with ten messages."""

from palm.clients import Client

if __name__ == "__main__":
    with Client("shouter") as client:
        answer = client.eval("shouter.shout", b"hello")
        print(answer)
        answers = list(client.job("shouter.shout", [b"message %d" % i for i in range(10)]))
        print(*answers)
    if answer != b"HELLO!" or sorted(answers) != [b"MESSAGE %d!" % i for i in range(10)]:
        raise SystemExit("that is not what the server should have answered")
