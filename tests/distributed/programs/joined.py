"""A boot file for TensorFlow's workers without a server: each adds its number to one sum that worker 0 holds."""

import json
import sys

import tensorflow as tf

v1 = tf.compat.v1
v1.disable_eager_execution()
output = next(each.partition("=")[2] for each in sys.argv if each.startswith("--train_url="))
told = tf.distribute.cluster_resolver.TFConfigClusterResolver()
cluster = told.cluster_spec()
server = v1.train.Server(cluster, job_name=told.task_type, task_index=told.task_id)
count = cluster.num_tasks("worker")
with tf.device("/job:worker/task:0"):
    total = v1.get_variable("total", initializer=0, use_resource=False)
    done = v1.get_variable("done", initializer=0, use_resource=False)
add, finish = v1.assign_add(total, 1 + told.task_id), v1.assign_add(done, 1)
unready = v1.report_uninitialized_variables()
with v1.Session(server.target) as session:
    if told.task_id == 0:
        session.run([total.initializer, done.initializer])
    while session.run(unready).size:
        pass
    session.run(add)
    while (seen := int(session.run(total))) < sum(range(1, count + 1)):
        pass
    session.run(finish)
    while told.task_id == 0 and int(session.run(done)) < count:
        pass  # the others still read from here
with open(f"{output}/worker-{told.task_id}.json", "w", encoding="utf-8") as file:
    json.dump({"task": [told.task_type, told.task_id], "cluster": cluster.as_dict(), "sum": seen}, file)
