"""What two or more tasks share: images, data, the Task, checkpoints, the training and the prediction of folders."""
