"""SkyPilot's own reading of tasks; run by SkyPilot's Python. A JSON task a line in, for each {"accelerators": […]} of its resources or {"error": text} out."""

import json
import sys

import sky

for line in sys.stdin:
    try:
        task = sky.Task.from_yaml_config(json.loads(line))
        found = sorted(f"{name}:{count}" for resources in task.resources for name, count in resources.accelerators.items())
        print(json.dumps({"accelerators": found, "disk_size": {resources.disk_size for resources in task.resources}.pop()}), flush=True)
    except ValueError as error:
        print(json.dumps({"error": str(error)}), flush=True)
