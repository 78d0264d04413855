"""The laptop cloud: starts, wires and stops everything that `schemas/topology.yaml` names. Never deployed."""
