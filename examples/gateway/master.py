"""The server that the gateway stands before: a master called ``words``."""

from palm.servers import Master

if __name__ == "__main__":
    Master("words").start()
