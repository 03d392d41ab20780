"""A boot file for TensorFlow's workers and parameter servers: each worker adds its number to one sum on a server.

A worker ends when all have added theirs; a server never ends by itself.
"""

import json
import sys

import tensorflow as tf

v1 = tf.compat.v1
v1.disable_eager_execution()
output = next(each.partition("=")[2] for each in sys.argv if each.startswith("--train_url="))
told = tf.distribute.cluster_resolver.TFConfigClusterResolver()
cluster = told.cluster_spec()
found = {"cluster": cluster.as_dict(), "task": [told.task_type, told.task_id], "argv": sys.argv[1:]}
print("cluster", json.dumps(found), flush=True)
server = v1.train.Server(cluster, job_name=told.task_type, task_index=told.task_id)
if told.task_type == "ps":
    server.join()

wanted = sum(range(1, cluster.num_tasks("worker") + 1))
with tf.device("/job:ps/task:0"):
    total = v1.get_variable("total", initializer=0, use_resource=False)
add = v1.assign_add(total, 1 + told.task_id)
unready = v1.report_uninitialized_variables()
peers = v1.ConfigProto(device_filters=["/job:ps", f"/job:worker/task:{told.task_id}"])
with v1.Session(server.target, config=peers) as session:
    if told.task_id == 0:
        session.run(total.initializer)
    while session.run(unready).size:
        pass
    session.run(add)
    while (seen := int(session.run(total))) < wanted:
        pass
with open(f"{output}/worker-{told.task_id}.json", "w", encoding="utf-8") as file:
    json.dump({**found, "sum": seen, "device": total.device}, file)
