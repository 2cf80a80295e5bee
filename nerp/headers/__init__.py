"""What the headers of NIfTI, NRRD and MetaImage files promise, read and proven before any voxel is."""
