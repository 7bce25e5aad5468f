"""Whether the document is one of OpenAPI 3.1, and whether answers are as it says.

Reads the document's file as argument, and from stdin a JSON array of [method, path of the document, status, content type,
content]. Writes a line for everything that is wrong.
"""

import json
import sys

import jsonschema
import openapi_spec_validator

with open(sys.argv[1], encoding="utf-8") as file:
    document = json.load(file)
openapi_spec_validator.validate(document)


def resolved(value):
    """What a reference stands for."""
    while "$ref" in value:
        place = document
        for step in value["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        value = place
    return value


def open_objects(schema, place):
    """Objects with names that nobody has written down."""
    if isinstance(schema, list):
        for index, member in enumerate(schema):
            yield from open_objects(member, f"{place}[{index}]")
    if isinstance(schema, dict):
        if "properties" in schema and schema.get("additionalProperties") is not False:
            yield place
        for key, member in schema.items():
            yield from open_objects(member, f"{place}.{key}")


for place in open_objects(document["components"]["schemas"], "schemas"):
    print(f"{place} lets any key pass; write additionalProperties: false")

for method, path, status, kind, content in json.load(sys.stdin):
    asked = f"{method} {path}: {status} {kind}"
    responses = document["paths"][path][method.lower()]["responses"]
    if str(status) not in responses:
        print(f"{asked}: no such status")
        continue
    contents = resolved(responses[str(status)])["content"]
    media = kind.split(";")[0]
    if media not in contents:
        print(f"{asked}: no such content")
        continue
    if media != "application/json":
        continue
    schema = {"components": document["components"], **contents[media]["schema"]}
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    for error in validator.iter_errors(json.loads(content)):
        print(f"{asked}: {error.json_path}: {error.message}")
print("checked")
