"""The first stage: a master with workers, whose results go on to those who subscribe to it."""

from palm.servers import Master

if __name__ == "__main__":
    Master("master", pipelined=True).start()
