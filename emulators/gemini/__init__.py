"""Gemini on its real REST API, played from a script; every answer says so in its `modelVersion`.

`rest` owns URLs, keys, errors and streams; `prompts` reads a request; `script` picks and renders an answer from
`script.yaml`; `shapes` makes and checks values against a response schema; `faults` breaks calls on demand.
Tools are called as the script says. Deliberately not here: images, embeddings, caches, any intelligence.
"""

MODEL_VERSION = "scripted-stand-in"
