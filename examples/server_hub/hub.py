"""The second stage: leases what the first one makes to workers."""

from addresses import HUB_DB, HUB_PUB, HUB_WORKER_PULL, HUB_WORKER_PUSH, SERVER_PUB

from palm.servers import Hub

if __name__ == "__main__":
    Hub(
        "hub",
        sub_address=SERVER_PUB,
        pub_address=HUB_PUB,
        worker_pull_address=HUB_WORKER_PULL,
        worker_push_address=HUB_WORKER_PUSH,
        db_address=HUB_DB,
        previous="first",
        pipelined=False,
    ).start()
