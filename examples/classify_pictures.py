"""Adapt a pretrained classifier to a folder of pictures, serve it, and ask it about a picture over the network.

    python examples/classify_pictures.py --images letters

The folder has one subfolder for each class, with a picture or a few in it.
"""

import argparse
import base64
import json
import urllib.request
from pathlib import Path

import metazoo
from metazoo import classifiers
from serving.server import Server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", default="maml_glyphs", help="a name (metazoo list) or a directory")
    parser.add_argument("--images", type=Path, required=True, help="a folder with a subfolder for each class")
    parser.add_argument("--out", default="adapted", help="where the adapted policy is published")
    arguments = parser.parse_args()

    policy = metazoo.load(arguments.policy)
    examples = classifiers.read(policy, arguments.images, convert=True)
    model = classifiers.adapted_to(policy, examples).publish(arguments.out, task="pictures").parent.name
    picture = base64.b64encode((arguments.images / examples.paths[0]).read_bytes()).decode()
    body = {"signature_name": "act_images", "inputs": {"image_bytes": [{"b64": picture}]}}
    with Server(arguments.out) as server:
        url = f"{server.url}/v1/models/{model}:predict"
        answer = json.load(urllib.request.urlopen(url, json.dumps(body).encode()))["outputs"]
    print(f"{examples.paths[0]} is {examples.classes[answer['actions'][0]]!r}")


if __name__ == "__main__":
    main()
