"""Faults injected into real stores and servers, and judges of the histories recorded meanwhile."""
