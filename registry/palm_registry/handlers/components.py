"""Components of a cluster."""

from __future__ import annotations

from palm.registry_api import schema
from palm_registry.description import describes
from palm_registry.failures import Invalid
from palm_registry.handlers.base import Base

__all__ = ["Action", "Component", "Components", "Signal"]


class Components(Base):
    """All components of a cluster."""

    scopes = {"GET": "viewer"}

    @describes(reply=list[schema.ComponentStatus])
    async def get(self, key: str) -> None:
        """Return the status of each."""
        self.answer(await self.service.components.all(key))


class Component(Base):
    """One component."""

    scopes = {"GET": "viewer", "PUT": "operator", "DELETE": "operator"}

    @describes(reply=schema.ComponentStatus)
    async def get(self, key: str, name: str) -> None:
        """Return its status."""
        self.answer(await self.service.components.get(key, name))

    @describes(
        body=schema.ComponentSpec,
        reply=schema.ComponentStatus,
        errors=(409,),
        example=schema.ComponentSpec(name="foo", script="foo.py", replicas=2),
    )
    async def put(self, key: str, name: str) -> None:
        """Say what is wanted of it."""
        spec = self.body(schema.ComponentSpec)
        if spec.name != name:
            raise Invalid("name", f"{name!r} is declared as {spec.name!r}")
        self.answer(await self.service.components.declare(key, spec))

    @describes()
    async def delete(self, key: str, name: str) -> None:
        """Stop and forget it."""
        await self.service.components.delete(key, name)
        self.nothing()


class Action(Base):
    """What can be done with a component."""

    scopes = {"POST": "operator"}

    @describes(
        where={"action": "start"},
        reply=schema.ComponentStatus,
        errors=(409,),
        summary="Start a component that was stopped.",
    )
    @describes(
        where={"action": "stop"},
        body=schema.Stop,
        optional_body=True,
        reply=schema.ComponentStatus,
        errors=(409,),
        example=schema.Stop(grace=5.0),
        summary="Stop a component; it stays known.",
    )
    @describes(
        where={"action": "restart"},
        reply=schema.ComponentStatus,
        errors=(409,),
        summary="Replace every process of a component by a new one.",
    )
    @describes(
        where={"action": "scale"},
        body=schema.Scale,
        reply=schema.ComponentStatus,
        errors=(409,),
        example=schema.Scale(replicas=3),
        summary="Run another number of replicas; those that stay are not touched.",
    )
    async def post(self, key: str, name: str, action: str) -> None:
        """Do it."""
        components = self.service.components
        if action == "start":
            status = await components.start(key, name)
        elif action == "stop":
            stop = self.body(schema.Stop) if self.request.body else schema.Stop()
            status = await components.stop(key, name, stop.grace)
        elif action == "restart":
            status = await components.restart(key, name)
        else:
            replicas = self.body(schema.Scale).replicas
            self.details = {"replicas": replicas}
            status = await components.scale(key, name, replicas)
        self.answer(status)


class Signal(Base):
    """A signal for the processes of a component."""

    scopes = {"POST": "operator"}

    @describes(
        body=schema.SignalRequest,
        reply=schema.SignalSent,
        errors=(409,),
        example=schema.SignalRequest(signal="HUP"),
    )
    async def post(self, key: str, name: str) -> None:
        """Send a signal to the processes of a component, or to one of them."""
        request = self.body(schema.SignalRequest)
        self.details = {"signal": request.signal[:16], "replica": request.replica}
        self.answer(await self.service.components.signal(key, name, request))
