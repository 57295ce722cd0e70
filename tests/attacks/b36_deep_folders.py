# b36_deep_folders
# MUST HAPPEN: folders nested deeper than any path can name must be removed afterwards, and stop nobody
# EXPECT: all levels: harmless (it may make them in its work folder)
import json
import os

os.chdir(json.loads(os.environ["ATTACK_TARGETS"])["work"])
for _ in range(1500):
    os.mkdir("d")
    os.chdir("d")
os.chmod("..", 0)
print("ATTACK BLOCKED nothing to win: 1500 folders deep")
