"""URLs of databases and servers, as they may be shown: what `router.masking` does with them, for the pipeline."""

from __future__ import annotations

from router.masking import mask, secrets_of

__all__ = ["mask", "secrets_of"]
