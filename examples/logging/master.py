"""A master that says only what is a warning."""

import logging

from palm.servers import Master

if __name__ == "__main__":
    Master("quiet", log_level=logging.WARNING).start()
