"""The runs of sweep.py in PyTorch: each line on standard input makes all of them, wall and processor seconds answer.

Argument: a file with the pool, the runs (learning rate, batch size, steps between records, seed) and their sizes.
"""

import sys
import time

import numpy as np
import torch  # pyright: ignore[reportMissingImports]


def evaluate(network, x, y):
    """Mean loss and accuracy."""
    with torch.no_grad():
        scores = network(x)
        loss = torch.nn.functional.cross_entropy(scores, y)
        return loss.item(), (scores.argmax(1) == y).float().mean().item()


def one_run(x, y, examples, records, rate, batch_size, every, seed):
    torch.manual_seed(seed)
    chosen = torch.randint(len(x), (examples,))
    own_x, own_y = x[chosen], y[chosen]
    network = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    told = []
    for record in range(records + 1):
        for _ in range(every if record else 0):
            rows = torch.randint(examples, (batch_size,))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(own_x[rows]), own_y[rows]).backward()
            optimizer.step()
        told.append([*evaluate(network, x, y), *evaluate(network, own_x, own_y)])
    return told


def main() -> None:
    torch.set_num_threads(1)  # the fastest for matrices of this size
    file = np.load(sys.argv[1])
    x, y = torch.from_numpy(file["x"]).float(), torch.from_numpy(file["y"]).long()
    sizes = int(file["examples"]), int(file["records"])
    for _ in iter(sys.stdin.readline, ""):
        wall, processor = time.perf_counter(), time.process_time()
        for rate, *numbers in file["runs"]:
            one_run(x, y, *sizes, float(rate), *map(int, numbers))
        print(time.perf_counter() - wall, time.process_time() - processor, flush=True)


if __name__ == "__main__":
    main()
