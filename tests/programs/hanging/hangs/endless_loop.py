"""A loop whose condition never comes to be.

manner: busy
"""

print("stands", flush=True)
number = 1
while number:
    number = number * 3 % 1_000_003
