"""Who calls, and what they may do (docs/security.md, docs/decisions/0022-who-may-do-what.md)."""
