"""The forms of export, one file each: every module that has a `TARGET` is one."""
