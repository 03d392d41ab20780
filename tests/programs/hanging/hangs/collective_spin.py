"""A rank in a collective that another never enters: it spins, and so does its kernel on the device.

manner: busy
devices: constant
"""

print("stands", flush=True)
while True:
    pass
