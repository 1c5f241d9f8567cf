"""A master."""

from palm.servers import Master

if __name__ == "__main__":
    Master("master").start()
