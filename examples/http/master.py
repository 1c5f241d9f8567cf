"""A master called ``primes``."""

from palm.servers import Master

if __name__ == "__main__":
    Master("primes").start()
