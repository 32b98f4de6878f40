"""What a method will hold in memory, what there is of it, and what is done where it is too little."""
