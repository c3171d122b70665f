# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dump does not hold and a restored database needs: owner, locale, limit, settings, grants."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ._errors import SlipwayError

Query = Callable[[str], list[list[str]]]

# Through jsonb, for the names of the locale's columns differ between PostgreSQL's versions.
_FACTS = """
    SELECT json_build_object(
      'owner', pg_get_userbyid(d.datdba),
      'encoding', pg_encoding_to_char(d.encoding),
      'provider', coalesce(to_jsonb(d)->>'datlocprovider', 'c'),
      'collate', d.datcollate,
      'ctype', d.datctype,
      'locale', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'),
      'icu_rules', to_jsonb(d)->>'daticurules',
      'connection_limit', d.datconnlimit,
      'settings', (
        SELECT coalesce(json_agg(json_build_array(nullif(pg_get_userbyid(s.setrole), 'unknown (OID=0)'), item)), '[]')
        FROM pg_db_role_setting s, unnest(s.setconfig) item WHERE s.setdatabase = d.oid),
      'role_settings', (
        SELECT coalesce(json_agg(json_build_array(pg_get_userbyid(s.setrole), item)), '[]')
        FROM pg_db_role_setting s, unnest(s.setconfig) item WHERE s.setdatabase = 0 AND s.setrole <> 0),
      'role_attributes', (
        SELECT coalesce(json_agg(json_build_array(r.rolname, array_remove(ARRAY[
          CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
          CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
          CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END, CASE WHEN NOT r.rolinherit THEN 'NOINHERIT' END
          ], NULL))), '[]')
        FROM pg_roles r WHERE r.rolname !~ '^pg_'),
      'memberships', (
        SELECT coalesce(json_agg(json_build_array(
          pg_get_userbyid(m.roleid), pg_get_userbyid(m.member), array_remove(ARRAY[
          CASE WHEN m.admin_option THEN 'ADMIN OPTION' END,
          CASE WHEN to_jsonb(m)->>'inherit_option' = 'false' THEN 'INHERIT FALSE' END,
          CASE WHEN to_jsonb(m)->>'set_option' = 'false' THEN 'SET FALSE' END], NULL))), '[]')
        FROM pg_auth_members m WHERE pg_get_userbyid(m.member) !~ '^pg_'),
      'grants', CASE WHEN d.datacl IS NOT NULL THEN (
        SELECT coalesce(json_agg(json_build_array(nullif(pg_get_userbyid(g.grantee), 'unknown (OID=0)'),
                                                  g.privilege_type, g.is_grantable)), '[]')
        FROM aclexplode(d.datacl) g) END,
      'roles', (
        SELECT json_agg(DISTINCT r.rolname) FROM pg_roles r
        WHERE r.oid = d.datdba OR r.oid IN (SELECT setrole FROM pg_db_role_setting WHERE setdatabase = d.oid)
        OR r.oid IN (
          SELECT p.refobjid FROM pg_shdepend p
          WHERE p.refclassid = 'pg_authid'::regclass
            AND (p.dbid = d.oid OR p.classid = 'pg_database'::regclass AND p.objid = d.oid)))
    )::text FROM pg_database d WHERE d.datname = {name}
"""

# Their values are lists of names, each quoted by itself.
_LISTS = frozenset(
    (
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    )
)
_PROVIDERS = {"i": "ICU", "b": "BUILTIN"}
# What a role may be besides one that logs in, and how a membership may be other than usual.
_ATTRIBUTES = ("SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS", "NOINHERIT")
_OPTIONS = ("ADMIN OPTION", "INHERIT FALSE", "SET FALSE")
# Manifests of old have none of these.
_YOUNGER = ("role_settings", "role_attributes", "memberships")


@dataclass(frozen=True)
class DatabaseFacts:
    """What surrounds the content of a database.

    :param provider: of its locale: c (libc), i (ICU), b (built in).
    :param locale: the ICU or built-in locale; None with libc.
    :param connection_limit: -1 for none.
    :param settings: each a role, or None for all roles, and NAME=VALUE.
    :param grants: each a role, or None for everybody, a privilege, whether it may be passed on; None for the default.
    :param roles: the roles that own something in it, are granted something, or have settings.
    :param role_settings: each one of these roles and NAME=VALUE, in whatever database it is. The server keeps them.
    :param role_attributes: each a role of the server, whatever it has to do with the database, and what it may.
    :param memberships: each a role, a member of it, and in which ways that is other than usual.
    """

    owner: str
    encoding: str
    provider: str
    collate: str
    ctype: str
    locale: str | None
    icu_rules: str | None
    connection_limit: int
    settings: Sequence[Sequence[str | None]]
    grants: Sequence[Sequence[Any]] | None
    roles: Sequence[str]
    role_settings: Sequence[Sequence[str]] = ()
    role_attributes: Sequence[Sequence[Any]] = ()
    memberships: Sequence[Sequence[Any]] = ()

    @classmethod
    def read(cls, query: Query, name: str) -> DatabaseFacts | None:
        """The facts of the database `name`; None when there is none."""
        rows = query(_FACTS.format(name=literal(name)))
        if not rows:
            return None
        found = json.loads(rows[0][0])
        own = [item for item in found["role_settings"] if item[0] in found["roles"]]
        return cls(**{**found, "role_settings": own})

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> DatabaseFacts:
        """The facts out of a manifest."""
        try:
            known = {name: data[name] for name in cls.__dataclass_fields__ if name not in _YOUNGER}
            return cls(**known, **{name: data.get(name, []) for name in _YOUNGER})
        except KeyError as error:
            raise SlipwayError(f"the manifest's facts of the database lack {error}") from error

    def create(self, target: str) -> str:
        """The SQL that makes an empty database `target`."""
        name, owner = quoted(target), quoted(self.owner)
        words = [f"CREATE DATABASE {name} TEMPLATE template0 OWNER {owner} ENCODING {literal(self.encoding)}"]
        if self.provider in _PROVIDERS:
            provider = _PROVIDERS[self.provider]
            words.append(f"LOCALE_PROVIDER {provider} {provider}_LOCALE {literal(self.locale or '')}")
        if self.icu_rules:
            words.append(f"ICU_RULES {literal(self.icu_rules)}")
        words.append(f"LC_COLLATE {literal(self.collate)} LC_CTYPE {literal(self.ctype)}")
        return " ".join(words)

    @property
    def all_roles(self) -> set[str]:
        """The roles that this database needs, and those of the server that may have to do with it."""
        return {*self.roles, *(role for role, _ in self.role_attributes)}

    def dress_roles(self, superuser: str) -> str:
        """The SQL that gives all roles but `superuser`, which runs it, what they have on the server but a password."""
        statements = []
        for role, attributes in self.role_attributes:
            if attributes and role != superuser:
                words = " ".join(word for word in _ATTRIBUTES if word in attributes)
                statements.append(f"ALTER ROLE {quoted(role)} {words};\n")
        for role, member, options in self.memberships:
            words = ", ".join(word for word in _OPTIONS if word in options)
            statements.append(f"GRANT {quoted(role)} TO {quoted(member)}{f' WITH {words}' if words else ''};\n")
        for role, setting in self.role_settings:
            key, _, value = setting.partition("=")
            statements.append(f"ALTER ROLE {quoted(role)} SET {_setting(key)} TO {_value(key, value)};\n")
        return "".join(statements)

    def dress(self, target: str) -> str:
        """The SQL that gives the database `target` its limit, its settings and its grants."""
        name, owner = quoted(target), quoted(self.owner)
        statements = [f"ALTER DATABASE {name} CONNECTION LIMIT {self.connection_limit}"]
        for role, setting in self.settings:
            key, _, value = (setting or "").partition("=")
            whose = f"ALTER DATABASE {name}" if role is None else f"ALTER ROLE {quoted(role)} IN DATABASE {name}"
            statements.append(f"{whose} SET {_setting(key)} TO {_value(key, value)}")
        if self.grants is not None:
            statements.append(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC, {owner}")
        for role, privilege, may_pass_on in self.grants or ():
            grantee = "PUBLIC" if role is None else quoted(role)
            option = " WITH GRANT OPTION" if may_pass_on else ""
            statements.append(f"GRANT {privilege} ON DATABASE {name} TO {grantee}{option}")
        return "".join(f"{statement};\n" for statement in statements)


def _setting(key: str) -> str:
    return ".".join(map(quoted, key.split(".")))


def _value(key: str, value: str) -> str:
    return ", ".join(map(literal, _items(value))) if key.lower() in _LISTS else literal(value)


def _items(text: str) -> list[str]:
    """The names in a list of names, of which those in double quotes may hold commas."""
    items, current, quoted = [], "", False
    for letter in text:
        if letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            items.append(current.strip())
            current = ""
        else:
            current += letter
    return [*items, current.strip()]


def quoted(name: str) -> str:
    """The name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
