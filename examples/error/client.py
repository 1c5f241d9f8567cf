"""Calls a function that fails: the error comes back, and the server goes on."""

from palm.clients import Client
from palm.errors import FunctionNotFound, TaskError

if __name__ == "__main__":
    with Client("careless") as client:
        try:
            client.eval("careless.broken", b"a message")
        except TaskError as error:
            print(error)
            if error.type != "NameError" or "server.py" not in error.traceback:
                raise SystemExit("that is another error") from None
        else:
            raise SystemExit("there was no error")

        try:
            client.eval("careless.fin", b"a message")
        except FunctionNotFound as error:
            print(error)
        else:
            raise SystemExit("a function that is not there was called")

        outcomes = list(client.job("careless.broken", [b"a", b"b", b"c"], errors="return"))
        if [type(outcome) for outcome in outcomes] != [TaskError] * 3:
            raise SystemExit(f"not one error for each message: {outcomes}")
        if client.eval("careless.fine", b"still here") != b"still here":
            raise SystemExit("the server does not go on")
        print("the server goes on")
