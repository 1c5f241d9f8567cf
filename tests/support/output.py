"""What a registry has of the output of a cluster, beside what its processes wrote."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from palm.registry_api.client import RegistryClient
from palm.runner.spool import STREAMS, Spool, Stream, list_spools
from palm.runtime.folders import Folders

#: Instance and stream.
Key = tuple[str, str]


class StoredOutput:
    """The output of a cluster as its registry has it, paged out from its beginning.

    Each `read` goes on after the one before. A record that does not begin where the one before it
    in its stream has ended was lost, stored twice or stored out of order: that fails the test.
    """

    def __init__(self, client: RegistryClient, cluster: str, limit: int = 200) -> None:
        self._client = client
        self._cluster = cluster
        self._limit = limit
        self._cursor = ""
        self.streams: dict[Key, bytearray] = {}

    def read(self) -> None:
        """Take what is new."""
        more = True
        while more:
            page = self._client.output(self._cluster, cursor=self._cursor, limit=self._limit)
            for record in page.records:
                stored = self.streams.setdefault((record.instance, record.stream), bytearray())
                assert record.offset == len(stored), f"{record.instance}, {record.stream}"
                stored += record.raw
            self._cursor, more = page.cursor, page.more

    def has_all(self) -> bool:
        """Read on; say whether it is as much as was written by now."""
        self.read()
        stored = {key: len(data) for key, data in self.streams.items()}
        return stored == {
            (spool.instance, stream): size
            for spool, stream in _streams(self._cluster)
            if (size := spool.size(stream))
        }

    def check_kept(self) -> None:
        """See that it ends as the files on the node do, of which the beginning may be freed."""
        for spool, stream in _streams(self._cluster):
            data = spool.path(stream).read_bytes()
            begin = spool.begin(stream)  # asked afterwards: what is freed meanwhile reads as NULs
            stored = self.streams.get((spool.instance, stream), b"")
            # What was written after the last `read` is not looked at.
            assert stored[begin:] == data[begin : len(stored)], f"{spool.instance}, {stream}"

    def digests(self) -> dict[Key, tuple[int, str]]:
        """Size and SHA-256 of each stream, for comparison with `written_digests`."""
        return {key: digest(bytes(data)) for key, data in self.streams.items()}


def _streams(cluster: str) -> Iterator[tuple[Spool, Stream]]:
    """Yield the files that the processes of a cluster wrote."""
    for spool, state in list_spools(Folders.find().spool):
        if state.cluster == cluster:
            yield from ((spool, stream) for stream in STREAMS if spool.path(stream).exists())


def written(cluster: str) -> Iterator[tuple[Key, bytes]]:
    """Yield what the processes of a cluster wrote, by the files of the spool; not what is empty.

    Only for those that write little: what is stored is freed, but for the last MiB of each stream.
    """
    for spool, stream in _streams(cluster):
        path = spool.path(stream)
        assert not spool.begin(stream), f"{path} has no beginning any more"
        if data := path.read_bytes():
            yield (spool.instance, stream), data


def written_digests(cluster: str) -> dict[Key, tuple[int, str]]:
    """Size and SHA-256 of what was written to each stream."""
    return {key: digest(data) for key, data in written(cluster)}


def digest(data: bytes) -> tuple[int, str]:
    """Size and SHA-256."""
    return len(data), sha256(data).hexdigest()
