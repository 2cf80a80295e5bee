"""Ways of computing the same integrals; `nerp.projection.dispatch` chooses among them.

A backend is a module with the functions of `reference`, on plain tensors:

* `cast_rays(camera, affine, shape) -> rays (B, R)`
* `siddon(values (C, D, H, W), rays) -> (B, R, C)`
* `siddon_ahead(values (C, D, H, W), rays, skip_first) -> (B, R, C)`
* `march(matter (F, D, H, W), opacity, rays of (F, R), n_samples, per_sample) -> (F, R)`
* `label_lengths(maps (M, D, H, W), labels, rays) -> (B, R, K)`
* `label_weights(opacity (D, H, W), maps, labels, carry, rays, n_samples) -> (B, R, K)`
"""
