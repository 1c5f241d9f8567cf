"""A master whose cache clients and workers share."""

from palm.servers import Master

if __name__ == "__main__":
    Master("library").start()
