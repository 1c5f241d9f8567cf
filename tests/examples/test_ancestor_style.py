"""Scripts as the ancestor's users wrote them run with nothing changed but the package's name."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import ProcessCluster, Script, until

BOUND = 60.0  # seconds; far beyond what any of this takes

SINGLE = {
    "server": """
        from pylm.servers import Server

        class MyServer(Server):
            def foo(self, message):
                self.logger.info('Got a message')
                return b'you sent me ' + message

        if __name__ == '__main__':
            server = MyServer('my_server',
                              db_address='tcp://127.0.0.1:5555',
                              pull_address='tcp://127.0.0.1:5556',
                              pub_address='tcp://127.0.0.1:5557')
            server.start()
    """,
    "client": """
        from pylm.clients import Client

        client = Client('my_server', 'tcp://127.0.0.1:5555')

        if __name__ == '__main__':
            print(client.eval('my_server.foo', b'a message'))
    """,
    "says": ["b'you sent me a message'"],
}

CACHE = {
    "master": """
        from pylm.servers import Master

        server = Master(name='server',
                        pull_address='tcp://127.0.0.1:5555',
                        pub_address='tcp://127.0.0.1:5556',
                        worker_pull_address='tcp://127.0.0.1:5557',
                        worker_push_address='tcp://127.0.0.1:5558',
                        db_address='tcp://127.0.0.1:5559')

        if __name__ == '__main__':
            server.start()
    """,
    "worker": """
        from pylm.servers import Worker
        import sys

        class MyWorker(Worker):
            def foo(self, message):
                prefix = self.get('prefix')
                return prefix + message

        server = MyWorker('worker1', 'tcp://127.0.0.1:5559')

        if __name__ == '__main__':
            server.start()
    """,
    "client": """
        from pylm.clients import Client
        from itertools import repeat

        client = Client('server', 'tcp://127.0.0.1:5559')

        if __name__ == '__main__':
            key = client.set(b'the cache says: ', 'prefix')
            print(key, client.get('prefix'))
            for response in client.job('server.foo', repeat(b'hi', 3), messages=3):
                print(response)
            client.delete('prefix')
    """,
    "says": ["prefix b'the cache says: '", *["b'the cache says: hi'"] * 3],
}

HOOKS = {
    "master": """
        from pylm.servers import Master

        class MyMaster(Master):
            def __init__(self, *args, **kwargs):
                self.counter = 0
                super(MyMaster, self).__init__(*args, **kwargs)

            def scatter(self, message):
                for i in range(2):
                    yield self.change_payload(message, message.payload + str(i).encode())

            def gather(self, message):
                self.counter += 1
                if self.counter == 6:
                    yield self.change_payload(message, b'final message')
                else:
                    yield message

        server = MyMaster(name='server',
                          pull_address='tcp://127.0.0.1:5555',
                          pub_address='tcp://127.0.0.1:5556',
                          worker_pull_address='tcp://127.0.0.1:5557',
                          worker_push_address='tcp://127.0.0.1:5558',
                          db_address='tcp://127.0.0.1:5559')

        if __name__ == '__main__':
            server.start()
    """,
    "worker": """
        from pylm.servers import MuxWorker

        class MyWorker(MuxWorker):
            def foo(self, message):
                yield b'did ' + message

        server = MyWorker('worker1', db_address='tcp://127.0.0.1:5559')

        if __name__ == '__main__':
            server.start()
    """,
    "client": """
        from pylm.clients import Client
        from itertools import repeat

        client = Client('server', 'tcp://127.0.0.1:5559')

        if __name__ == '__main__':
            results = client.job('server.foo', repeat(b'a message', 3), messages=6)
            print(sorted(results))
    """,
    "says": [str(sorted([b"did a message0"] * 3 + [b"did a message1"] * 2 + [b"final message"]))],
}

PIPELINE = {
    "server": """
        from pylm.servers import Server

        class MyServer(Server):
            def foo(self, message):
                return b'one ' + message

        server = MyServer('server',
                          db_address='tcp://127.0.0.1:5555',
                          pull_address='tcp://127.0.0.1:5556',
                          pub_address='tcp://127.0.0.1:5557',
                          pipelined=True)

        if __name__ == '__main__':
            server.start()
    """,
    "pipeline": """
        from pylm.servers import Pipeline

        class MyPipeline(Pipeline):
            def foo(self, message):
                return b'two ' + message

        server = MyPipeline('pipeline',
                            db_address='tcp://127.0.0.1:5560',
                            sub_address='tcp://127.0.0.1:5557',
                            pub_address='tcp://127.0.0.1:5561',
                            previous='server',
                            to_client=True)

        if __name__ == '__main__':
            server.start()
    """,
    "client": """
        from pylm.clients import Client
        from itertools import repeat

        client = Client('server', db_address='tcp://127.0.0.1:5555',
                        sub_address='tcp://127.0.0.1:5561')

        if __name__ == '__main__':
            for response in client.job(['server.foo', 'pipeline.foo'],
                                       repeat(b'a message', 3), messages=3):
                print(response)
            print(client.eval(['server.foo', 'pipeline.foo'], b'another'))
    """,
    "says": [*["b'two one a message'"] * 3, "b'two one another'"],
}

SINK = {
    "server": """
        from pylm.servers import Server

        class MyServer(Server):
            def __init__(self, *args, **kwargs):
                super(MyServer, self).__init__(*args, **kwargs)
                self.counter = 0

            def foo(self, message):
                return message

            def handle_stream(self, message):
                if self.counter % 2 == 0:
                    topic = 'even'
                else:
                    topic = 'odd'
                self.counter += 1
                return topic, message

        server = MyServer('server',
                          db_address='tcp://127.0.0.1:5555',
                          pull_address='tcp://127.0.0.1:5556',
                          pub_address='tcp://127.0.0.1:5557',
                          pipelined=True)

        if __name__ == '__main__':
            server.start()
    """,
    "even": """
        from pylm.servers import Pipeline

        class MyPipeline(Pipeline):
            def foo(self, message):
                return message + b' even'

        server = MyPipeline('pipeline',
                            db_address='tcp://127.0.0.1:5560',
                            sub_address='tcp://127.0.0.1:5557',
                            pub_address='tcp://127.0.0.1:5561',
                            previous='even',
                            to_client=False)

        if __name__ == '__main__':
            server.start()
    """,
    "odd": """
        from pylm.servers import Pipeline

        class MyPipeline(Pipeline):
            def foo(self, message):
                return message + b' odd'

        server = MyPipeline('pipeline',
                            db_address='tcp://127.0.0.1:5570',
                            sub_address='tcp://127.0.0.1:5557',
                            pub_address='tcp://127.0.0.1:5571',
                            previous='odd',
                            to_client=False)

        if __name__ == '__main__':
            server.start()
    """,
    "sink": """
        from pylm.servers import Sink

        class MySink(Sink):
            def foo(self, message):
                return b'sink got ' + message

        server = MySink('sink',
                        db_address='tcp://127.0.0.1:5580',
                        sub_addresses=['tcp://127.0.0.1:5561', 'tcp://127.0.0.1:5571'],
                        pub_address='tcp://127.0.0.1:5581',
                        previous=['pipeline', 'pipeline'],
                        to_client=True)

        if __name__ == '__main__':
            server.start()
    """,
    "client": """
        from pylm.clients import Client
        from itertools import repeat

        client = Client('server', db_address='tcp://127.0.0.1:5555',
                        sub_address='tcp://127.0.0.1:5581')

        if __name__ == '__main__':
            results = client.job(['server.foo', 'pipeline.foo', 'sink.foo'],
                                 repeat(b'a message', 4), messages=4)
            print(sorted(results))
    """,
    "says": [str(sorted([b"sink got a message even"] * 2 + [b"sink got a message odd"] * 2))],
}

HUB = {
    "server": """
        from pylm.servers import Server

        class MyServer(Server):
            def foo(self, message):
                return message.upper()

        server = MyServer('server',
                          db_address='tcp://127.0.0.1:5555',
                          pull_address='tcp://127.0.0.1:5556',
                          pub_address='tcp://127.0.0.1:5557',
                          pipelined=True)

        if __name__ == '__main__':
            server.start()
    """,
    "hub": """
        from pylm.servers import Hub

        server = Hub(name='hub',
                     sub_address='tcp://127.0.0.1:5557',
                     pub_address='tcp://127.0.0.1:5561',
                     worker_pull_address='tcp://127.0.0.1:5562',
                     worker_push_address='tcp://127.0.0.1:5563',
                     db_address='tcp://127.0.0.1:5564',
                     previous='server',
                     pipelined=False)

        if __name__ == '__main__':
            server.start()
    """,
    "worker": """
        from pylm.servers import Worker

        class MyWorker(Worker):
            def foo(self, message):
                return b'hub worker ' + message

        server = MyWorker('worker1', db_address='tcp://127.0.0.1:5564')

        if __name__ == '__main__':
            server.start()
    """,
    "client": """
        from pylm.clients import Client
        from itertools import repeat

        client = Client('server', db_address='tcp://127.0.0.1:5555',
                        sub_address='tcp://127.0.0.1:5561')

        if __name__ == '__main__':
            for response in client.job(['server.foo', 'hub.foo'],
                                       repeat(b'a message', 2), messages=2):
                print(response)
    """,
    "says": ["b'hub worker A MESSAGE'"] * 2,
}

ALL = {
    "single": SINGLE,
    "cache": CACHE,
    "hooks": HOOKS,
    "pipeline": PIPELINE,
    "sink": SINK,
    "hub": HUB,
}


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[ProcessCluster]:
    cluster = ProcessCluster(tmp_path)
    yield cluster
    cluster.close()


def on_free_ports(sources: dict[str, str]) -> dict[str, str]:
    """Replace the ports in scripts, the same everywhere: others may use these now."""
    ports = [
        port for port in map(str, range(5555, 5590)) if any(port in s for s in sources.values())
    ]
    held = [socket.create_server(("127.0.0.1", 0)) for _ in ports]
    free = [str(each.getsockname()[1]) for each in held]
    for each in held:
        each.close()
    for port, other in zip(ports, free, strict=True):
        sources = {
            name: text.replace(f"127.0.0.1:{port}'", f"127.0.0.1:{other}'")
            for name, text in sources.items()
        }
    return sources


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_script_runs_with_the_package_s_name_changed(name: str, processes: ProcessCluster) -> None:
    scripts = dict(ALL[name])
    says = scripts.pop("says")
    sources = on_free_ports({who: text.replace("pylm", "palm") for who, text in scripts.items()})
    running: dict[str, Script] = {who: processes.run(text) for who, text in sources.items()}
    client = running.pop("client")
    assert client.wait(BOUND) == 0, client.output
    lines = [line for line in client.output.splitlines() if " - INFO - " not in line]
    assert lines == says
    for script in running.values():
        assert script.stop() == 0, script.output
        assert "Traceback" not in script.output
        assert " - ERROR - " not in script.output


TEE = {
    "server": PIPELINE["server"],
    "answering": PIPELINE["pipeline"],
    "silent": """
        from pylm.servers import Pipeline

        class MyPipeline(Pipeline):
            def foo(self, message):
                print('just got', message, flush=True)

        server = MyPipeline('pipeline',
                            db_address='tcp://127.0.0.1:5570',
                            sub_address='tcp://127.0.0.1:5557',
                            pub_address='tcp://127.0.0.1:5571',
                            previous='server',
                            to_client=True)

        if __name__ == '__main__':
            server.start()
    """,
    "client": PIPELINE["client"],
}


@pytest.mark.slow
def test_two_stages_of_one_name_both_get_what_is_sent(processes: ProcessCluster) -> None:
    sources = on_free_ports({who: text.replace("pylm", "palm") for who, text in TEE.items()})
    client = sources.pop("client")
    running = {who: processes.run(text) for who, text in sources.items()}
    joined = "INFO - stage pipeline joined"
    until(lambda: running["server"].output.count(joined) == 2, within=BOUND, what="both are there")
    ended = processes.run(client)
    assert ended.wait(BOUND) == 0, ended.output
    lines = [line for line in ended.output.splitlines() if " - INFO - " not in line]
    assert lines == PIPELINE["says"]
    silent = running["silent"].output.splitlines()
    assert silent.count("just got b'one a message'") == 3
    assert silent.count("just got b'one another'") == 1
