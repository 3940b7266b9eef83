"""What each official vector file asks for. A case is known by its fields, not by its file's name."""

from vectors.checks import encodings, groups, hpke, messages, secrets, trees
from vectors.checks.schema import Case, schema_of

__all__ = ["Case", "encodings", "groups", "hpke", "messages", "schema_of", "secrets", "trees"]
