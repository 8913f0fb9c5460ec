module geometry

go 1.21
