"""A line that asks who is there: users and rights on broker and store, signed prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from infra.local import topics
from infra.local.access import BrokerAccess, Environment
from infra.local.minio import Credentials
from infra.local.owner_only import FOLDER_MODE, write_private
from infra.local.services import Service
from infra.security import api_keys, broker, store
from infra.security.rights import COORDINATOR, KEY_SECRET, OPERATOR, Rights, principal, table
from infra.security.vault import SHARED, Vault
from runtime.settings import Settings
from schemas.signature import Signer, Signers, write_signers
from streams.kafka.clients import SASL_MECHANISM

OWNER = "owner"
"""The broker's own user, which may do everything, and whom no service comes as."""
PASSWORD, STORE_KEY, SIGNING_KEY = "kafka_password", "store_secret_key", "signing_key"
PRODUCTION = {"LATENTLINE_GATEWAY_MODE": "production", "LATENTLINE_GATEWAY_DEFAULT_KEY": ""}
"""A secure line knows no key that others know."""
PLAIN, SCRAM = "plain.PlainLoginModule", "scram.ScramLoginModule"


@dataclass(frozen=True)
class Guarded:
    """`data` is the stack's folder, `root` the store's own user."""

    data: Path
    root: Credentials
    services: tuple[Service, ...]
    tenants: tuple[str, ...]

    @property
    def vault(self) -> Vault:
        return Vault(self.data / "secrets")

    @property
    def rights(self) -> dict[str, Rights]:
        return table(self.services, self.tenants)

    @property
    def signers_file(self) -> Path:
        return self.vault.of(COORDINATOR) / "signers.json"

    @property
    def broker(self) -> BrokerAccess:
        """The controller's listener knows its one user from the configuration: users are known only once it runs."""
        password = self.vault.secret(OWNER, PASSWORD).get_secret_value()
        properties = {
            "listener.security.protocol.map": "CONTROLLER:SASL_PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            "security.inter.broker.protocol": "SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": SASL_MECHANISM,
            "sasl.mechanism.inter.broker.protocol": SASL_MECHANISM,
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": jaas(PLAIN, password, f'user_{OWNER}="{password}"'),
            f"listener.name.sasl_plaintext.{SASL_MECHANISM.lower()}.sasl.jaas.config": jaas(SCRAM, password),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{OWNER}",
        }
        user = f"{SASL_MECHANISM}=[name={OWNER},password={password}]"
        return BrokerAccess("SASL_PLAINTEXT", properties, ("--add-scram", user))

    def owner(self) -> Environment:
        return {
            "LATENTLINE_KAFKA_USERNAME": OWNER,
            "LATENTLINE_KAFKA_PASSWORD": self.vault.secret(OWNER, PASSWORD).get_secret_value(),
            "LATENTLINE_STORE_ACCESS_KEY": self.root.access_key,
            "LATENTLINE_STORE_SECRET_KEY": self.root.secret_key,
            "LATENTLINE_GATEWAY_KEY_SECRET": self.vault.secret(SHARED, KEY_SECRET).get_secret_value(),
        }

    def operator(self) -> Environment:
        return self.client(OPERATOR)

    def client(self, name: str) -> Environment:
        """Of a principal that is no service, secrets in the clear."""
        values = {
            "kafka_username": name,
            "store_access_key": name,
            **{setting: secret.get_secret_value() for setting, secret in self.secrets(name).items()},
        }
        return {f"LATENTLINE_{setting.upper()}": value for setting, value in values.items()} | PRODUCTION

    def service(self, service: Service) -> Environment:
        """Secrets are handed over by their folder. Raises `KeyError` for a service that the table does not have."""
        name = principal(service)
        self.secrets(name)
        named = {
            "LATENTLINE_KAFKA_USERNAME": name,
            "LATENTLINE_STORE_ACCESS_KEY": name,
            "LATENTLINE_SECRETS_DIR": str(self.vault.of(name)),
        }
        return named | PRODUCTION | ({"LATENTLINE_SIGNERS_FILE": str(self.signers_file)} if name == COORDINATOR else {})

    def secrets(self, name: str) -> dict[str, SecretStr]:
        """By setting: those that this principal needs."""
        rights = self.rights[name]
        settings = [PASSWORD, *[STORE_KEY] * rights.uses_store, *[SIGNING_KEY] * (rights.speaks_for != ())]
        own = {setting: self.vault.secret(name, setting) for setting in settings}
        return own | {setting: self.vault.shared(name, setting) for setting in rights.shares}

    def signers(self) -> Signers:
        return {
            name: Signer(key=self.vault.secret(name, SIGNING_KEY), tenants=rights.speaks_for)
            for name, rights in self.rights.items()
            if rights.speaks_for != ()
        }

    def admit(self, owner: Settings) -> None:
        """The signers' file is read when a coordinator starts, which is after this."""
        self.data.chmod(FOLDER_MODE)
        write_private(self.signers_file, write_signers(self.signers()))
        known = {name: self.secrets(name) for name in self.rights}
        passwords = {name: each[PASSWORD] for name, each in known.items()}
        broker.apply(topics.admin(owner), owner.topic_prefix, self.rights, passwords, OWNER)
        keys = {name: each[STORE_KEY] for name, each in known.items() if STORE_KEY in each}
        store.apply(store.connect(owner), owner.store_bucket, self.rights, keys)

    def issue_keys(self, owner: Settings) -> None:
        api_keys.issue(owner, self.vault, self.tenants)


def jaas(module: str, password: str, *more: str) -> str:
    options = [f'username="{OWNER}"', f'password="{password}"', *more]
    return f"org.apache.kafka.common.security.{module} required {' '.join(options)};"
