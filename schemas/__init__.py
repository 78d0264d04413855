"""The contracts: events, messages, tables, SQL, Cypher, the topology. No I/O beyond this folder's own files."""
