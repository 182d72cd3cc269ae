from support.levels import level as level
