"""Bad input: what is put at which place of a good document, and every message that a person gets for it."""

from __future__ import annotations

from typing import Any

GONE: Any = object()

JOB: dict[str, Any] = {
    "kind": "job",
    "metadata": {"name": "digits"},
    "algorithm": {
        "code_dir": "/b00/code/",
        "boot_file": "/b00/code/train.py",
        "parameters": [
            {
                "name": "lr",
                "value": "0.1",
                "constraint": {"type": "Float", "valid_type": "Range", "valid_range": ["0", "1"]},
            }
        ],
        "inputs": [{"name": "data_url", "remote": {"obs": {"obs_url": "obs://b00/data/"}}}],
        "outputs": [{"name": "train_url", "remote": {"obs": {"obs_url": "obs://b00/out/"}}}],
        "engine": {"engine_name": "PyTorch"},
    },
    "spec": {"resource": {"flavor_id": "f", "node_count": 1}, "log_export_path": {"obs_url": "/b00/log/"}},
}

ALGORITHM: dict[str, Any] = {
    "metadata": {"name": "digits"},
    "job_config": {"code_dir": "/b00/code/", "boot_file": "/b00/code/train.py", "parameters": []},
}

ROWS: tuple[tuple[str, str, Any, tuple[str, ...]], ...] = (
    ("job", "kind", GONE, ('kind: is missing; write "kind": "job" (ModelArts.2788)',)),
    (
        "job",
        "kind",
        "notebook",
        (
            "kind: expected one of job, visualization_job, federated_pool_job, edge_job, hetero_job, mrs_job, autosearch_job, diag_job, found 'notebook' (ModelArts.2788)",
        ),
    ),
    ("job", "kind", ["job"], ("kind: expected text, found a list (ModelArts.2788)",)),
    ("job", "metadata", GONE, ("metadata: is missing; it holds at least the job's name (ModelArts.2788)",)),
    ("job", "metadata", "digits", ("metadata: expected an object, found 'digits' (ModelArts.2788)",)),
    ("job", "metadata.name", GONE, ("metadata.name: is missing; name the job (ModelArts.2788)",)),
    (
        "job",
        "metadata.name",
        "",
        ("metadata.name: expected 1 to 64 letters, digits, '-' and '_', found '' (ModelArts.2788)",),
    ),
    (
        "job",
        "metadata.name",
        "a b",
        ("metadata.name: expected 1 to 64 letters, digits, '-' and '_', found 'a b' (ModelArts.2788)",),
    ),
    (
        "job",
        "metadata.name",
        "x" * 65,
        (
            "metadata.name: expected 1 to 64 letters, digits, '-' and '_', found 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' (ModelArts.2788)",
        ),
    ),
    (
        "job",
        "metadata.name",
        {"a": 1},
        ("metadata.name: expected 1 to 64 letters, digits, '-' and '_', found an object (ModelArts.2788)",),
    ),
    (
        "job",
        "metadata.id",
        "../../etc",
        ("metadata.id: expected an id of letters, digits, '.', '_' and '-', found '../../etc' (ModelArts.2788)",),
    ),
    (
        "job",
        "metadata.description",
        "x" * 257,
        ("metadata.description: expected at most 256 characters, found 257 (ModelArts.2788)",),
    ),
    (
        "job",
        "metadata.annotations",
        ["a"],
        ("metadata.annotations: expected an object of names and texts, found a list (ModelArts.2788)",),
    ),
    (
        "job",
        "metadata.annotations",
        {"fault-tolerance/job-retry-num": "4"},
        ("metadata.annotations.fault-tolerance/job-retry-num: expected 0 to 3 retries, found '4' (ModelArts.2788)",),
    ),
    (
        "job",
        "metadata.annotations",
        {"fault-tolerance/hang-retry": "yes"},
        ("metadata.annotations.fault-tolerance/hang-retry: expected true or false, found 'yes' (ModelArts.2788)",),
    ),
    ("job", "algorithm", GONE, ("algorithm: is missing; it says what to run (ModelArts.2788)",)),
    (
        "job",
        "algorithm",
        {},
        (
            "algorithm: says nothing to run; give id, or code_dir and boot_file, or command and engine.image_url (ModelArts.2788)",
        ),
    ),
    (
        "job",
        "algorithm",
        {"subscription_id": "s"},
        (
            "algorithm: says nothing to run; give id, or code_dir and boot_file, or command and engine.image_url (ModelArts.2788)",
            "algorithm: subscription_id and item_version_id go together; give both (ModelArts.2788)",
        ),
    ),
    (
        "job",
        "algorithm.code_dir",
        GONE,
        ("algorithm.code_dir: is missing; a boot file lies in a code directory (ModelArts.2757)",),
    ),
    (
        "job",
        "algorithm.code_dir",
        "code/",
        (
            "algorithm.code_dir: expected /bucket/key/, obs://bucket/key/ or s3://bucket/key/, got 'code/' (ModelArts.2757)",
        ),
    ),
    (
        "job",
        "algorithm.code_dir",
        "http://h/code/",
        ("algorithm.code_dir: expected obs:// or s3://, got http:// (ModelArts.2757)",),
    ),
    (
        "job",
        "algorithm.code_dir",
        "obs:///code/",
        ("algorithm.code_dir: no bucket in 'obs:///code/'; write obs://bucket/key/ (ModelArts.2757)",),
    ),
    (
        "job",
        "algorithm.code_dir",
        "obs://b00/a/../b/",
        ("algorithm.code_dir: the segment '..' in 'obs://b00/a/../b/' (ModelArts.2757)",),
    ),
    (
        "job",
        "algorithm.code_dir",
        "obs://b00//a/",
        ("algorithm.code_dir: a key that starts with '/' in 'obs://b00//a/' (ModelArts.2757)",),
    ),
    (
        "job",
        "algorithm.code_dir",
        "obs://B/a/",
        ("algorithm.code_dir: 'B' is no bucket name (3-63 lower-case letters, digits, '-' and '.') (ModelArts.2757)",),
    ),
    (
        "job",
        "algorithm.code_dir",
        "file://code",
        ("algorithm.code_dir: expected an absolute path, found 'code' (ModelArts.2757)",),
    ),
    (
        "job",
        "algorithm.boot_file",
        GONE,
        ("algorithm.boot_file: is missing; name the Python file to start (or a command) (ModelArts.2758)",),
    ),
    (
        "job",
        "algorithm.boot_file",
        "/b00/code/train.sh",
        (
            "algorithm.boot_file: expected a .py or .pyc file, found '/b00/code/train.sh'; start anything else by command (ModelArts.2758)",
        ),
    ),
    (
        "job",
        "algorithm.boot_file",
        "/b00/other/train.py",
        ("algorithm.boot_file: expected a file below /b00/code/, found '/b00/other/train.py' (ModelArts.2792)",),
    ),
    (
        "job",
        "algorithm.boot_file",
        "/b00/code.py",
        ("algorithm.boot_file: expected a file below /b00/code/, found '/b00/code.py' (ModelArts.2792)",),
    ),
    (
        "job",
        "algorithm.boot_file",
        "obs://b00/code/a\nb.py",
        ("algorithm.boot_file: a control character in 'obs://b00/code/a\\nb.py' (ModelArts.2758)",),
    ),
    (
        "job",
        "algorithm.local_code_dir",
        "/opt/code",
        ("algorithm.local_code_dir: expected a folder below /home/, found '/opt/code' (ModelArts.2802)",),
    ),
    (
        "job",
        "algorithm.local_code_dir",
        "/home//",
        ("algorithm.local_code_dir: expected a folder below /home/, found '/home//' (ModelArts.2802)",),
    ),
    (
        "job",
        "algorithm.local_code_dir",
        "/home/../etc",
        ("algorithm.local_code_dir: expected a path without '.' and '..', found '/home/../etc' (ModelArts.2802)",),
    ),
    (
        "job",
        "algorithm.working_dir",
        "here",
        ("algorithm.working_dir: expected an absolute path, found 'here' (ModelArts.2788)",),
    ),
    (
        "job",
        "algorithm",
        {"command": "python a.py"},
        ("algorithm.engine.image_url: a command needs an image to run in (ModelArts.2806)",),
    ),
    (
        "job",
        "algorithm",
        {"command": "a\nb", "engine": {"image_url": "i:1"}},
        ("algorithm.command: a command stands on one line; join its parts with ';' or '&&' (ModelArts.2788)",),
    ),
    (
        "job",
        "algorithm.parameters",
        "lr=0.1",
        ("algorithm.parameters: expected a list, found 'lr=0.1' (ModelArts.2788)",),
    ),
    ("job", "algorithm.parameters", [{"value": "1"}], ("algorithm.parameters[0].name: is missing (ModelArts.2788)",)),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "value": "1"}, {"name": "lr", "value": "2"}],
        ("algorithm.parameters[1].name: the hyperparameter 'lr' stands already at [0] (ModelArts.2767)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "l r", "value": "1"}],
        ("algorithm.parameters[0].name: expected 1 to 64 letters, digits, '-' and '_', found 'l r' (ModelArts.2788)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "value": ["1"]}],
        ("algorithm.parameters[0].value: expected text, found a list (ModelArts.2788)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "value": "a\0b"}],
        ("algorithm.parameters[0].value: a NUL character cannot be passed to a program; remove it (ModelArts.2788)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "value": "\ud800"}],
        (
            "algorithm.parameters[0].value: half of a surrogate pair is no text; write the whole character (ModelArts.2788)",
        ),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "description": "what <b>"}],
        (
            "algorithm.parameters[0].description: expected letters, digits, Chinese characters, spaces, '-', '_', ',' and '.', found 'what <b>' (ModelArts.2788)",
        ),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "value": "x", "constraint": {"type": "Float"}}],
        ("algorithm.parameters[0].value: expected a number such as 0.1 or 1e-3, found 'x' (ModelArts.2768)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "value": "nan", "constraint": {"type": "Float"}}],
        ("algorithm.parameters[0].value: expected a number such as 0.1 or 1e-3, found 'nan' (ModelArts.2768)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "value": "１", "constraint": {"type": "Integer"}}],
        ("algorithm.parameters[0].value: expected a whole number, found '\uff11' (ModelArts.2768)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "value": "1.5", "constraint": {"type": "Integer"}}],
        ("algorithm.parameters[0].value: expected a whole number, found '1.5' (ModelArts.2768)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "on", "value": "yes", "constraint": {"type": "Boolean"}}],
        ("algorithm.parameters[0].value: expected True or False, found 'yes' (ModelArts.2768)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "value": "1e999", "constraint": {"type": "Float"}}],
        ("algorithm.parameters[0].value: expected a number that fits a Float, found '1e999' (ModelArts.2768)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [
            {
                "name": "lr",
                "value": "2",
                "constraint": {"type": "Float", "valid_type": "Range", "valid_range": ["0", "1"]},
            }
        ],
        ("algorithm.parameters[0].value: expected 0 to 1, found 2 (ModelArts.2769)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "constraint": {"type": "Float", "valid_type": "Range", "valid_range": ["1"]}}],
        (
            "algorithm.parameters[0].constraint.valid_range: a Range needs two texts, low and high, found 1 (ModelArts.2770)",
        ),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "constraint": {"type": "Float", "valid_type": "Range", "valid_range": ["1", "0"]}}],
        ("algorithm.parameters[0].constraint.valid_range: the range is empty: 1 is above 0 (ModelArts.2770)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "constraint": {"type": "Float", "valid_type": "Range", "valid_range": ["a", "1"]}}],
        ("algorithm.parameters[0].constraint.valid_range: an end of the range is no Float: 'a' (ModelArts.2770)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "lr", "constraint": {"type": "String", "valid_type": "Range", "valid_range": ["a", "b"]}}],
        (
            "algorithm.parameters[0].constraint.valid_range: a Range needs an Integer or a Float, found a String (ModelArts.2770)",
        ),
    ),
    (
        "job",
        "algorithm.parameters",
        [
            {
                "name": "opt",
                "value": "sdg",
                "constraint": {"type": "String", "valid_type": "Choice", "valid_range": ["sgd", "adam"]},
            }
        ],
        ("algorithm.parameters[0].value: expected one of sgd, adam, found 'sdg' (ModelArts.2765)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [
            {
                "name": "n",
                "value": "3",
                "constraint": {"type": "Integer", "valid_type": "Choice", "valid_range": ["1", "2"]},
            }
        ],
        ("algorithm.parameters[0].value: expected one of 1, 2, found '3' (ModelArts.2769)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "n", "constraint": {"type": "Integer", "valid_type": "Choice", "valid_range": []}}],
        (
            "algorithm.parameters[0].constraint.valid_range: a Choice needs at least one value in valid_range (ModelArts.2770)",
        ),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "n", "constraint": {"type": "Integer", "valid_type": "Choice", "valid_range": ["a"]}}],
        (
            "algorithm.parameters[0].constraint.valid_range: a choice is no Integer: expected a whole number, found 'a' (ModelArts.2770)",
        ),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "n", "constraint": {"type": "Int"}}],
        (
            "algorithm.parameters[0].constraint.type: expected one of String, Integer, Float, Boolean, found 'Int' (ModelArts.2788)",
        ),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "n", "constraint": {"type": "Integer", "required": "maybe"}}],
        ("algorithm.parameters[0].constraint.required: expected true or false, found 'maybe' (ModelArts.2788)",),
    ),
    (
        "job",
        "algorithm.parameters",
        [{"name": "n", "value": "9" * 65, "constraint": {"type": "Integer"}}],
        ("algorithm.parameters[0].value: expected a number, found 65 characters (ModelArts.2768)",),
    ),
    (
        "job",
        "algorithm.inputs",
        {"name": "data_url"},
        ("algorithm.inputs: expected a list, found an object (ModelArts.2788)",),
    ),
    ("job", "algorithm.inputs", [{"remote": {}}], ("algorithm.inputs[0].name: is missing (ModelArts.2753)",)),
    (
        "job",
        "algorithm.inputs",
        [{"name": "a/b"}],
        ("algorithm.inputs[0].name: expected 1 to 64 letters, digits, '-' and '_', found 'a/b' (ModelArts.2753)",),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "d"}, {"name": "d"}],
        ("algorithm.inputs[1].name: the input 'd' stands already at [0] (ModelArts.2767)",),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "d", "remote": {"obs": {}}}],
        ("algorithm.inputs[0].remote.obs.obs_url: is missing (ModelArts.2791)",),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "d", "remote": {"obs": {"obs_url": "data/"}}}],
        (
            "algorithm.inputs[0].remote.obs.obs_url: expected /bucket/key/, obs://bucket/key/ or s3://bucket/key/, got 'data/' (ModelArts.2791)",
        ),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "d", "remote": {"obs": {"obs_url": "obs://bucket/a/./b"}}}],
        ("algorithm.inputs[0].remote.obs.obs_url: the segment '.' in 'obs://bucket/a/./b' (ModelArts.2791)",),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "d", "remote": {"obs": {"obs_url": "obs://bucket/"}, "dataset": {"id": "1"}}}],
        ("algorithm.inputs[0].remote: names both obs and dataset; keep one (ModelArts.2753)",),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "PATH", "access_method": "env"}],
        (
            "algorithm.inputs[0].name: as a variable 'PATH' would steer programs; rename the channel or use access_method parameter (ModelArts.2753)",
        ),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "LD_PRELOAD", "access_method": "env"}],
        (
            "algorithm.inputs[0].name: as a variable 'LD_PRELOAD' would steer programs; rename the channel or use access_method parameter (ModelArts.2753)",
        ),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "d", "access_method": "argument"}],
        ("algorithm.inputs[0].access_method: expected one of parameter, env, found 'argument' (ModelArts.2753)",),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "d", "local_dir": "data"}],
        ("algorithm.inputs[0].local_dir: expected an absolute path, found 'data' (ModelArts.2753)",),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "d", "local_dir": "/etc/x"}],
        (
            "algorithm.inputs[0].local_dir: '/etc/x' lies in a folder of the system; choose one below /home or /cache (ModelArts.2753)",
        ),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "d", "local_dir": "/lib64/x"}],
        (
            "algorithm.inputs[0].local_dir: '/lib64/x' lies in a folder of the system; choose one below /home or /cache (ModelArts.2753)",
        ),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "d", "local_dir": "/"}],
        ("algorithm.inputs[0].local_dir: expected a folder below '/', found '/' itself (ModelArts.2753)",),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "d", "remote_constraint": [], "remote_constraints": []}],
        (
            "algorithm.inputs[0].remote_constraint: means the same as remote_constraints; keep one of them (ModelArts.2788)",
        ),
    ),
    (
        "job",
        "algorithm.inputs",
        [{"name": "d", "remote_constraints": [{"attributes": "x"}]}],
        (
            "algorithm.inputs[0].remote_constraints[0].attributes: expected a list of objects with text values, found 'x' (ModelArts.2753)",
        ),
    ),
    (
        "job",
        "algorithm.outputs",
        [{"name": "o", "period": "soon"}],
        ("algorithm.outputs[0].period: expected a whole number from 1 to 86400, found 'soon' (ModelArts.2753)",),
    ),
    (
        "job",
        "algorithm.outputs",
        [{"name": "o", "period": 0}],
        ("algorithm.outputs[0].period: expected a whole number from 1 to 86400, found 0 (ModelArts.2753)",),
    ),
    (
        "job",
        "algorithm.outputs",
        [{"name": "o", "prefetch_to_local": "sure"}],
        ("algorithm.outputs[0].prefetch_to_local: expected true or false, found 'sure' (ModelArts.2788)",),
    ),
    (
        "job",
        "algorithm.environments",
        {"1A": "x"},
        (
            "algorithm.environments.1A: expected a variable name (letters, digits and '_', no digit first), found '1A' (ModelArts.2788)",
        ),
    ),
    (
        "job",
        "algorithm.environments",
        {"A": "$HOME"},
        ("algorithm.environments.A: a value is not expanded and may hold no '$'; write it out (ModelArts.2788)",),
    ),
    (
        "job",
        "algorithm.environments",
        {"A": "x" * 4097},
        ("algorithm.environments.A: expected at most 4096 characters, found 4097 (ModelArts.2788)",),
    ),
    (
        "job",
        "algorithm.environments",
        {f"V{i}": "x" for i in range(101)},
        ("algorithm.environments: expected at most 100 variables, found 101 (ModelArts.2788)",),
    ),
    (
        "job",
        "algorithm.environments",
        "A=1",
        ("algorithm.environments: expected an object of variable names and texts, found 'A=1' (ModelArts.2788)",),
    ),
    (
        "job",
        "algorithm.policies",
        {"auto_search": {"reward_attrs": [{"name": "a", "mode": "best", "regex": "x"}]}},
        (
            "algorithm.policies.auto_search.reward_attrs[0].mode: expected one of max, min, found 'best' (ModelArts.2788)",
        ),
    ),
    (
        "job",
        "algorithm.policies",
        {"auto_search": {"reward_attrs": [{"name": "a", "mode": "max", "regex": "("}]}},
        (
            "algorithm.policies.auto_search.reward_attrs[0].regex: expected a regular expression, found '(': missing ), unterminated subpattern at position 0 (ModelArts.2788)",
        ),
    ),
    (
        "job",
        "algorithm.policies",
        {"auto_search": {"search_params": [{"name": "lr", "lower_bound": "x"}]}},
        (
            "algorithm.policies.auto_search.search_params[0].lower_bound: expected a number such as 0.1 or 1e-3, found 'x' (ModelArts.2770)",
        ),
    ),
    (
        "job",
        "algorithm.policies",
        {"auto_search": {"search_params": [{"name": "lr", "lower_bound": "2", "upper_bound": "1"}]}},
        ("algorithm.policies.auto_search.search_params[0].lower_bound: 2 is above the upper bound 1 (ModelArts.2770)",),
    ),
    (
        "job",
        "algorithm.policies",
        {"auto_search": {"search_params": [{"name": "lr", "param_type": "discrete"}]}},
        (
            "algorithm.policies.auto_search.search_params[0].discrete_values: a discrete parameter needs at least one value (ModelArts.2770)",
        ),
    ),
    (
        "job",
        "algorithm.policies",
        {"auto_search": {"algo_configs": [{"name": "grid"}]}},
        (
            "algorithm.policies.auto_search.algo_configs[0].name: expected one of bayes_opt_search, tpe_search, anneal_search, found 'grid' (ModelArts.2788)",
        ),
    ),
    (
        "job",
        "spec.resource.node_count",
        0,
        ("spec.resource.node_count: expected a whole number from 1 to 100000, found 0 (ModelArts.2793)",),
    ),
    (
        "job",
        "spec.resource.node_count",
        "two",
        ("spec.resource.node_count: expected a whole number from 1 to 100000, found 'two' (ModelArts.2793)",),
    ),
    (
        "job",
        "spec.log_export_path",
        {"obs_url": "log"},
        (
            "spec.log_export_path.obs_url: expected /bucket/key/, obs://bucket/key/ or s3://bucket/key/, got 'log' (ModelArts.2791)",
        ),
    ),
    (
        "job",
        "spec.auto_stop",
        {"time_unit": "DAYS", "duration": 1},
        ("spec.auto_stop.time_unit: expected HOURS, found 'DAYS' (ModelArts.2788)",),
    ),
    (
        "job",
        "spec.auto_stop",
        {"duration": 0},
        ("spec.auto_stop.duration: expected a whole number from 1 to 8760, found 0 (ModelArts.2788)",),
    ),
    ("job", "spec.auto_stop", {}, ("spec.auto_stop.duration: is missing (ModelArts.2788)",)),
    (
        "job",
        "spec.schedule_policy",
        {"priority": 4},
        ("spec.schedule_policy.priority: expected a whole number from 1 to 3, found 4 (ModelArts.2788)",),
    ),
    (
        "job",
        "spec.notification",
        {"events": ["JobDone"]},
        (
            "spec.notification.events[0]: expected one of JobStarted, JobCompleted, JobFailed, JobTerminated, JobRestarted, JobHanged, JobPreempted, found 'JobDone' (ModelArts.2788)",
        ),
    ),
    ("job", "spec.volumes", [{}], ("spec.volumes[0]: expected one of nfs, pfs and obs (ModelArts.2788)",)),
    (
        "job",
        "spec.volumes",
        [{"nfs": None, "pfs": {"pfs_path": "obs://p/", "local_path": "mnt"}}],
        ("spec.volumes[0].pfs.local_path: expected an absolute path, found 'mnt' (ModelArts.2788)",),
    ),
    (
        "job",
        "spec.volumes",
        [{"nfs": {"local_path": "/a"}, "obs": {"obs_path": "obs://p/", "local_path": "/a"}}],
        (
            "spec.volumes[0].nfs.nfs_server_path: is missing (ModelArts.2788)",
            "spec.volumes[0]: expected one of nfs, pfs and obs (ModelArts.2788)",
        ),
    ),
    (
        "job",
        "spec.volumes",
        [{"nfs": {"nfs_server_path": "h:/", "local_path": "//cache"}}],
        ("spec.volumes[0]: nothing can be mounted at /cache; choose another local_path (ModelArts.2788)",),
    ),
    (
        "job",
        "spec.volumes",
        [{"nfs": {"nfs_server_path": "h:/", "local_path": "/a"}}, {"pfs": {"pfs_path": "p", "local_path": "/a/"}}],
        ("spec.volumes[1]: /a is mounted already by [0]; choose another local_path (ModelArts.2788)",),
    ),
    (
        "job",
        "spec.volumes",
        [{"obs": {"obs_path": "p", "local_path": f"/a{i}"}} for i in range(9)],
        ("spec.volumes: expected at most 8 volumes, found 9 (ModelArts.2788)",),
    ),
    ("algorithm", "metadata", GONE, ("metadata: is missing; it holds the algorithm's name (ModelArts.2788)",)),
    ("algorithm", "job_config", GONE, ("job_config: is missing; it says what to run (ModelArts.2788)",)),
    (
        "algorithm",
        "job_config.boot_file",
        GONE,
        ("job_config.boot_file: is missing; name the Python file to start (or a command) (ModelArts.2758)",),
    ),
    (
        "algorithm",
        "resource_requirements",
        [{"key": "memory", "values": ["1"]}],
        (
            "resource_requirements[0].key: expected one of flavor_type, device_distributed_mode, host_distributed_mode, found 'memory' (ModelArts.2788)",
        ),
    ),
    (
        "algorithm",
        "resource_requirements",
        [{"key": "flavor_type", "values": ["TPU"]}],
        ("resource_requirements[0].values: expected one of CPU, GPU, Ascend, found 'TPU' (ModelArts.2788)",),
    ),
    (
        "algorithm",
        "resource_requirements",
        [{"key": "flavor_type", "values": ["CPU"], "operator": "not"}],
        ("resource_requirements[0].operator: expected in, found 'not' (ModelArts.2808)",),
    ),
    (
        "algorithm",
        "resource_requirements",
        [{"key": "device_distributed_mode", "value": ["many"]}],
        ("resource_requirements[0].values: expected one of multiple, singular, found 'many' (ModelArts.2788)",),
    ),
    (
        "algorithm",
        "job_config.parameters_customization",
        3,
        ("job_config.parameters_customization: expected true or false, found 3 (ModelArts.2788)",),
    ),
)
