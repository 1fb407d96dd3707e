"""How a line lets clients in: a value that broker, store and services are started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from infra.local.minio import Credentials
from infra.local.services import Service
from runtime.settings import Settings

Environment = dict[str, str]
"""Variables `LATENTLINE_*`."""


@dataclass(frozen=True)
class BrokerAccess:
    """The protocol of the broker's listener, and what else the broker must know of its clients."""

    protocol: str = "PLAINTEXT"
    properties: Mapping[str, str] = field(default_factory=dict)
    """Beyond those that every broker has."""
    format_arguments: tuple[str, ...] = ()
    """For the one formatting of its storage."""


class Access(Protocol):
    @property
    def broker(self) -> BrokerAccess: ...

    def owner(self) -> Environment:
        """Of the one to whom broker and store belong: it makes topics, bucket and users."""

    def operator(self) -> Environment:
        """Of the person who started the line."""

    def service(self, service: Service) -> Environment:
        """Of one service, and of no other."""

    def admit(self, owner: Settings) -> None:
        """Tell the running broker and store who may do what. Raises what their clients raise."""

    def issue_keys(self, owner: Settings) -> None:
        """Make the first API key of each tenant, once the topics are there. Raises what their clients raise."""


@dataclass(frozen=True)
class Open:
    """Whoever reaches the servers, which listen on this machine alone, may do everything."""

    root: Credentials
    broker: BrokerAccess = field(default_factory=BrokerAccess)

    def owner(self) -> Environment:
        return {
            "LATENTLINE_STORE_ACCESS_KEY": self.root.access_key,
            "LATENTLINE_STORE_SECRET_KEY": self.root.secret_key,
        }

    def operator(self) -> Environment:
        return self.owner()

    def service(self, service: Service) -> Environment:
        return self.owner()

    def admit(self, owner: Settings) -> None:
        pass

    def issue_keys(self, owner: Settings) -> None:
        pass
