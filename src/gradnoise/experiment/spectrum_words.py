"""What a spectrum along training says, in sentences."""

import xarray as xr

FAR = 0.5
"""Decades of Wasserstein distance from which on two spectra are called different."""


def spectrum_sentences(table: xr.Dataset) -> list[str]:
    """Rank and unevenness at the last checkpoint, then whether eigenvalues and leading directions stayed as they were.

    `table` is what `spectrum_along_training` gives. The two questions are kept apart: equal eigenvalues do not make
    equal covariances.
    """
    first, last = table.isel(checkpoint=0), table.isel(checkpoint=-1)
    size, count = table.attrs["num_parameters"], table.attrs["num_examples"]
    lanczos = table.attrs["method"] != "exact"
    most = min(size, count - 1)
    told = [
        f"D has rank {'at least ' if lanczos else ''}{int(last['rank'])} of {size} ({float(last['rank_fraction']):.1%}) at "
        f"the threshold of float64, {int(last['rank_float32'])} at that of float32; {count} examples allow at most {most}.",
        f"Its eigenvalues are {float(last['mean']):.3g} +- {float(last['spread']):.3g} (mean and standard deviation of all "
        f"{size}, zeros included); {float(last['participation_ratio']):.3g} equal ones would be as uneven.",
    ]
    before, after = float(first["checkpoint"]), float(last["checkpoint"])
    distance, overlap = float(last["distance"][0]), float(last["overlap"][0])
    ratio = float(last["trace"]) / float(first["trace"]) if float(first["trace"]) > 0 else float("nan")
    verdict = "changed" if distance > FAR else "hardly changed"
    told.append(
        f"From {before:.0%} to {after:.0%} of training the eigenvalues {verdict}: {distance:.2g} decades apart on average, "
        f"the trace {ratio:.2g} times as large."
    )
    random, spread = float(table["overlap_random"]), float(table["overlap_random_spread"])
    directions = table.attrs["num_directions"]
    if random > 1 - 1e-9:  # all directions there are
        return told
    told.append(
        f"The leading {directions} eigenvectors then and now overlap by {overlap:.2f}, random ones by {random:.2g} +- "
        f"{spread:.1g}: {_meaning(overlap, random, spread)}."
    )
    return told


def _meaning(overlap: float, random: float, spread: float) -> str:
    if overlap < random + 4.5 * spread:
        return "no more than chance, so D depends on the weights"
    if overlap < 0.9:
        return "far more than chance, far from 1, so D depends on the weights"
    return "nearly the same directions"
